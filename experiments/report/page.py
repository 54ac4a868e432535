"""The page: what was found, in a table; the interactive view; then a section for each experiment, in order."""

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments import verdicts
from experiments.report import interactive
from experiments.report.markup import details, heading, image, inline, items, pairs, scrolling, table, tag, text, word
from experiments.report.runs import KINDS, Run, ending
from experiments.report.sections import Section

HERE = Path(__file__).parent


def page(sections: Sequence[Section], results: Path, made: dict[str, Any], others: Sequence[str]) -> str:
    """Returns the whole page, which loads nothing.

    Args:
      sections: in order.
      results: the folder that they come from.
      made: when and from which commit the page is made: `time`, `commit`, `dirty`.
      others: folders of runs that the page does not show.
    """
    sets = interactive.datasets({section.experiment.name: section for section in sections})
    content = (introduction(sections, results, made, others), interactive.view(sets), *map(one, sections))
    parts = (
        tag("a", "Skip to the results", class_="skip", href="#results"),
        tag("div", contents(sections), tag("main", *content, id="results"), class_="layout"),
        interactive.scripts(sets, (HERE / "report.js").read_text(encoding="utf-8")),
    )
    style = tag("style", (HERE / "report.css").read_text(encoding="utf-8"))
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    icon = '<link rel="icon" href="data:,">'
    head = tag("head", meta, icon, tag("title", "vi_jax: results"), style)
    return "<!doctype html>\n" + tag("html", head, tag("body", *parts), lang="en") + "\n"


def contents(sections: Sequence[Section]) -> str:
    """Returns the table of contents."""
    links = [tag("a", text(section.experiment.question), href=f"#{section.experiment.name}") for section in sections]
    view = tag("a", text(interactive.TITLE), href="#interactive")
    return tag("nav", tag("strong", "Contents"), tag("p", view), items("ol", links), aria_label="Contents")


def introduction(sections: Sequence[Section], results: Path, made: dict[str, Any], others: Sequence[str]) -> str:
    """Returns the heading, what the words mean, the summary, and what went wrong."""
    shown = [section for section in sections if section.run is not None]
    kinds = Counter(section.run.kind for section in shown if section.run is not None)
    each = ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS if kinds[kind]) or "none"
    of = short(made["commit"])
    changed = ", with changes that are not committed" if made["dirty"] else ""
    lines = (
        f"{len(shown)} of {len(sections)} experiments have a run in {results} ({each}). "
        f"This page was made at {made['time']} from commit {of}{changed}.",
        "A verdict is a claim judged by the rows of the run, against exact answers wherever there are any: it holds, "
        "it fails, or these rows do not resolve it. A quick run shows that the whole path works; it resolves fewer "
        "claims. Intervals are 95 %. z is the distance from the exact answer in standard errors; a claim about many of "
        "them fails where the largest |z| is beyond a line that chance crosses once in a thousand times.",
        origins([section.run for section in shown if section.run is not None], made),
    )
    also = f"Also in this folder, and not on this page: {', '.join(others)}."
    paragraphs = [tag("p", text(line)) for line in (*filter(None, lines), *([also] if others else []))]
    total = tag("p", "All verdicts: ", words(verdict for section in sections for verdict in section.verdicts))
    return "".join((tag("h1", "Results of vi_jax"), *paragraphs, total, summary(sections), troubles(sections)))


def origins(runs: Sequence[Run], made: dict[str, Any]) -> str:
    """Returns which commits the runs are of, unless all are of the page's: what of a section is older than its code."""
    commits = Counter(commit(run) for run in runs)
    if not commits or set(commits) == {short(made["commit"])}:
        return ""
    each = ", ".join(f"{name} ({count})" for name, count in commits.most_common())
    return (
        f"Not all runs are of the page's commit; they are of: {each}. Rows and figures are as each run left them; "
        "captions, tables, verdicts and what a full run shows are of the code that made the page."
    )


def commit(run: Run) -> str:
    """Returns the commit of a run in short."""
    return short((run.record.get("git") or {}).get("commit"))


def short(name: object) -> str:
    """Returns a commit in short."""
    return str(name)[:10] if name else "no commit known"


def day(run: Run) -> str:
    """Returns the day on which a run was started."""
    return str(run.record["started"])[:10]


def summary(sections: Sequence[Section]) -> str:
    """Returns the table of all experiments."""
    head = [tag("th", name, scope="col") for name in ("question", "verdicts", "run", "day", "time")]
    lines = []
    for section in sections:
        name, run = section.experiment.name, section.run
        link = tag("a", text(section.experiment.question), href=f"#{name}")
        cells = (
            words(section.verdicts),
            none(section).lower() if run is None else text(run.kind + unfinished(run)),
            "–" if run is None else text(day(run)),
            "–" if run is None else text(duration(run)),
        )
        lines.append(tag("tr", tag("th", link, scope="row"), *(tag("td", cell) for cell in cells)))
    caption = "All experiments, in the order of the story"
    parts = (heading(caption), tag("thead", tag("tr", *head)), tag("tbody", *lines))
    return scrolling(caption, tag("table", *parts, class_="summary"))


def words(judgements: Iterable[verdicts.Verdict]) -> str:
    """Returns how many verdicts fail, are not resolved, and hold."""
    counts = Counter(each.holds for each in judgements)
    return " ".join(word(holds=holds, count=counts[holds]) for holds in (False, None, True) if counts[holds]) or "–"


def unfinished(run: Run) -> str:
    """Returns how a run ended, unless it finished."""
    status = run.record["status"]
    return "" if status == "finished" else f", {status}"


def troubles(sections: Sequence[Section]) -> str:
    """Returns everything that went wrong, by experiment."""
    found = [
        f"{tag('code', text(section.experiment.name))}: {text(trouble)}"
        for section in sections
        for trouble in section.troubles
    ]
    title = tag("h2", "What is not as it should be")
    return title + items("ul", found, class_="troubles") if found else ""


def one(section: Section) -> str:
    """Returns the section of one experiment."""
    name, run = section.experiment.name, section.run
    title = tag("h2", text(section.experiment.question), id=f"{name}-title")
    command = tag("p", tag("code", f"python -m experiments.{name}"), class_="meta")
    body = absent(section) if run is None else present(section, run)
    about = details("What is computed, and what to expect", tag("pre", text(section.about.strip())))
    return tag("section", title, command, told(section), body, about, id=name, aria_labelledby=f"{name}-title")


def told(section: Section) -> str:
    """Returns what the full run shows, as the repository's README has it."""
    shows = section.experiment.shows
    return tag("p", tag("strong", "The full run shows: "), inline(shows), ".", class_="shows") if shows else ""


def absent(section: Section) -> str:
    """Returns what stands where there is no run: what makes one, and what it takes."""
    command = tag("code", f"python -m experiments.{section.experiment.name}")
    full = f" The full run takes {text(section.experiment.time)}." if section.experiment.time else ""
    return tag("p", f"{none(section)}. {command} runs it, with {tag('code', '--quick')} in its reduced form.{full}")


def none(section: Section) -> str:
    """Returns why there is no run: what cannot be read is among the troubles."""
    return "No run that can be shown" if section.troubles else "Not run yet"


def present(section: Section, run: Run) -> str:
    """Returns verdicts, figure, table and provenance of the run that is shown."""
    question = section.experiment.question
    state = tag("span", text(f"{run.kind} configuration{unfinished(run)}"), class_="word")
    parts = [tag("p", state, " ", text(f"{day(run)}, {commit(run)}, {duration(run)}, {device(run)}"), class_="meta")]
    if section.verdicts:
        parts += [tag("h3", "Verdicts"), items("ul", map(judged, section.verdicts), class_="verdicts")]
    if section.figure is not None:
        drawn = image(section.figure, f"Figure for the question: {question} {section.caption}")
        box = scrolling(f"Figure: {question}", drawn, "box drawing")
        parts.append(tag("figure", box, tag("figcaption", text(section.caption), class_="meta")))
    if section.table is not None:
        more = f"; {section.table.left_out} more rows are in rows.csv" if section.table.left_out else ""
        caption = f"{question} Value ± half of a 95 % interval{more}"
        parts.append(table(section.table.text, section.table.numeric, caption))
    return "".join((*parts, details("Where these numbers come from", provenance(run, section.others))))


def judged(verdict: Any) -> str:
    """Returns a verdict: its word, its claim, and what was found."""
    found = tag("span", text(verdicts.typeset(verdict.found)), class_="found")
    return f"{word(holds=verdict.holds)} {text(verdict.claim)} {found}"


def provenance(run: Run, others: Sequence[Run]) -> str:
    """Returns what the numbers depend on."""
    record = run.record
    git, packages = record.get("git") or {}, record.get("packages") or {}
    changed = ", with changes that were not committed" if git.get("dirty") else ""
    more = [f"{each.folder.name}: {each.kind}{unfinished(each) or ', finished'}" for each in others]
    command = shlex.join(["python", "-m", f"experiments.{record['experiment']}", *map(str, record["argv"])])
    lines = [
        ("command", command),
        ("configuration", run.kind + (f": {'; '.join(run.changed)}" if run.changed else "")),
        ("seed", str(record["seed"])),
        ("commit", f"{git['commit']}{changed}" if git.get("commit") else "not known"),
        ("versions", ", ".join([f"Python {record.get('python', '–')}", *(f"{k} {v}" for k, v in packages.items())])),
        ("device", device(run)),
        ("started", str(record["started"])),
        ("ended", f"{ending(record)}, after {duration(run)}"),
        ("folder", str(run.folder)),
        ("other runs", "; ".join(more) or "none"),
    ]
    settings = json.dumps(record["config"], ensure_ascii=False, indent=1)
    return pairs(lines) + details("All settings", tag("pre", text(settings)))


def device(run: Run) -> str:
    """Returns what the run was computed on."""
    found = run.record.get("device") or {}
    name = found.get("cpu") if found.get("platform") == "cpu" else found.get("kind")
    cores = f", {found['cpu_count']} cores" if found.get("platform") == "cpu" and found.get("cpu_count") else ""
    return f"{found.get('count', '?')} × {found.get('platform', 'unknown device')} ({name or '–'}{cores})"


def duration(run: Run) -> str:
    """Returns the time of a run in words."""
    seconds = run.record.get("seconds")
    if not isinstance(seconds, int | float) or seconds < 0:
        return "time not known"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.0f} s"
