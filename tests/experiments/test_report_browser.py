"""The page in a browser: Debian's chromium, headless, driven by its own chromedriver."""

import shutil
from pathlib import Path

import pytest

from experiments.report import __main__ as report
from experiments.report import missing
from tests import reports
from tests.reports import Verdict, experiment, gaps, leave, module

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
# Ubuntu's is a snap, which sees neither /tmp nor a hidden folder.
SNAP = CHROMIUM is not None and "snap" in Path(CHROMIUM).resolve().parts[1:] + Path(CHROMIUM).parts[1:]
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None or SNAP,
    reason="no chromium and chromedriver here, or those of a snap: .ci/browser installs Debian's",
)
WIDTHS, SCHEMES = (400, 1600), ("light", "dark")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="600" height="200"><path d="M0,0H600" stroke="#000"/></svg>'
    wide = gaps().assign(**{f"a column with a long name {n}": 1.5 for n in range(12)})
    leave(results, "a", 1, rows=wide, svg=svg)
    leave(results, "a", 2, rows=None, status="failed", message="a/very/long/path" * 20)
    leave(results, "sweep", 1, rows=reports.sweep_rows(), svg=svg, config={"model": "toy"})
    verdicts = [Verdict("a claim", "1.0 ± 0.1", True), Verdict("another", "2", False), Verdict("a third", "3", None)]
    modules = {"a": module(verdict=lambda rows: verdicts), "sweep": module(), "never": module()}
    path, _ = report.write(results, None, [experiment(n) for n in modules], modules.__getitem__, missing.leave)
    return path


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page):
    look(browser, 1600, "light")
    browser.get(page.as_uri())
    settle(browser)
    return browser


def look(browser, width, scheme):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def settle(browser):
    """Waits for the chart, which is drawn anew after each selection, and for two frames."""
    frames = (
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50)));"
    )
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 10).until(lambda driver: marks(driver))
    browser.execute_async_script(frames)


def marks(browser):
    """The path of every mark and where it stands, as drawn."""
    query = "#view-plot .mark-symbol path, #view-plot .mark-line path"
    script = "return [...document.querySelectorAll(arguments[0])].map(p => p.outerHTML)"
    return browser.execute_script(script, query)


def values(browser):
    return browser.execute_script("return document.querySelector('#view-body').innerText").splitlines()


def choose(browser, key, value):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element(By.ID, key)).select_by_value(value)
    settle(browser)


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def focused(browser, what="id"):
    return browser.execute_script(f"return document.activeElement.{what}")


def test_it_loads_without_a_word_on_the_console_and_asks_for_nothing(opened):
    assert opened.get_log("browser") == []
    assert opened.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    assert len(marks(opened)) == 8 + 4


def test_a_selection_changes_the_chart_and_the_table(opened):
    chart, table = marks(opened), values(opened)
    assert table[0].split("\t") == ["ELBO, pathwise", "0.100 ± 0.050", "1.600 ± 0.050"]
    choose(opened, "view-quantity", "of the gradient φ̄ of the guide/variance")
    assert marks(opened) != chart
    assert values(opened) != table
    assert "variance" in opened.execute_script("return document.querySelector('#view-chart').ariaLabel")
    choose(opened, "view-bound", "iwae")
    assert len(marks(opened)) == 3 + 2
    assert [line.split("\t")[0] for line in values(opened)] == ["IWAE, pathwise", "IWAE, doubly reparameterized"]


def test_a_series_that_is_unchecked_leaves_and_values_that_no_log_axis_has_are_in_the_table(opened):
    opened.execute_script("document.querySelector('#view-series input').click()")
    settle(opened)
    assert len(marks(opened)) == 6 + 3
    assert len(values(opened)) == 3
    choose(opened, "view-quantity", "of the gradient φ̄ of the guide/variance")
    assert "1 marked * not resolved" in opened.execute_script("return document.querySelector('#view-status').innerText")
    assert [line for line in values(opened) if "*" in line] == [
        "IWAE, doubly reparameterized\t2.50 ± 0.20\t0.16 ± 0.20 *"
    ]
    assert len(marks(opened)) == 5 + 3


def test_where_nothing_can_be_drawn_a_sentence_says_so(opened):
    from selenium.webdriver.common.by import By

    def blank(driver):
        return [each.text for each in driver.find_elements(By.CSS_SELECTOR, "#view-plot .blank")]

    from selenium.webdriver.support.ui import Select, WebDriverWait

    quantity = Select(opened.find_element(By.ID, "view-quantity"))
    quantity.select_by_value("of the gradient φ̄ of the guide/bias ÷ length of the true gradient")
    WebDriverWait(opened, 10).until(lambda driver: blank(driver) and not marks(driver))
    assert blank(opened) == ["Nothing to draw: the table has what was measured."]
    assert len(values(opened)) == 4
    choose(opened, "view-quantity", "of the gradient φ̄ of the guide/variance")
    assert blank(opened) == []
    assert opened.get_log("browser") == []


def test_hovering_and_focus_say_value_and_interval(opened):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    points = opened.find_elements(By.CSS_SELECTOR, "#view-plot .mark-symbol path")
    opened.execute_script("document.querySelector('#view-plot').scrollIntoView({block: 'center'})")
    ActionChains(opened).move_to_element(points[1]).perform()
    settle(opened)
    said = opened.find_element(By.ID, "view-point").text
    assert said.startswith("ELBO, pathwise, K = 16: 1.600 ± 0.050")
    assert opened.find_element(By.ID, "vg-tooltip-element").text == said


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_scrolls_sideways_and_axe_finds_nothing(browser, page, width, scheme):
    from axe_core_python.base import AXE_SCRIPT

    look(browser, width, scheme)
    browser.get(page.as_uri())
    settle(browser)
    browser.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_script(AXE_SCRIPT)
    found = browser.execute_async_script(
        "const done = arguments[0]; axe.run().then(r => done([r.violations, r.passes.map(p => p.id)]))"
    )
    assert [(each["id"], [node["html"][:80] for node in each["nodes"]]) for each in found[0]] == []
    assert {"color-contrast", "label", "select-name", "image-alt", "landmark-one-main"} <= set(found[1])


def test_the_dark_page_is_dark_and_its_letters_are_light(browser, page):
    seen = {}
    for scheme in SCHEMES:
        look(browser, 1600, scheme)
        browser.get(page.as_uri())
        settle(browser)
        script = """const body = getComputedStyle(document.body);
        const axis = getComputedStyle(document.querySelector('#view-plot .role-axis-label text'));
        return [body.backgroundColor, body.color, axis.fill].map(c => c.match(/\\d+/g).slice(0, 3).map(Number))"""
        seen[scheme] = browser.execute_script(script)
    background, ink, axis = seen["dark"]
    assert max(background) < 60 < 180 < min(ink)
    assert min(axis) > 180
    background, ink, axis = seen["light"]
    assert min(background) > 240 > 80 > max(ink)
    assert max(axis) < 80


def test_the_keyboard_reaches_the_controls_changes_a_selection_and_walks_the_points(opened):
    from selenium.webdriver.common.keys import Keys

    press(opened, Keys.TAB)
    assert focused(opened, "className") == "skip"
    order = []
    while "view-quantity" not in order and len(order) < 40:
        press(opened, Keys.TAB)
        order.append(focused(opened))
    assert order[-3:] == ["view-set", "view-bound", "view-quantity"]
    table = values(opened)
    press(opened, Keys.ARROW_DOWN)
    settle(opened)
    assert values(opened) != table
    for _ in range(4):
        press(opened, Keys.TAB)
        assert focused(opened, "type") == "checkbox"
    press(opened, Keys.TAB)
    first = focused(opened, "getAttribute('aria-label')")
    press(opened, Keys.ARROW_RIGHT)
    second = focused(opened, "getAttribute('aria-label')")
    assert first.startswith("ELBO, pathwise, K = 1:") or first.startswith("ELBO, pathwise, K = 16:")
    assert second != first
    assert opened.execute_script("return document.querySelector('#view-point').innerText") == second
