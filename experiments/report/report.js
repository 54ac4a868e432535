// The interactive view of the sweeps: a selection of series and a quantity, drawn by Vega and written as a table.
"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const at = (id) => document.getElementById(id);
  const sets = read("view-data");
  const specs = read("view-specs");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const off = new Set(); // labels of the series that were unchecked, kept from one selection to the next
  let view = null;
  let drawing = 0;

  const element = (name, properties, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const chosenSet = () => sets[at("view-set").value];
  const chosenQuantity = () => chosenSet().quantities.find((each) => each.name === at("view-quantity").value);
  const inBound = () => {
    const bound = at("view-bound").value;
    return [...chosenSet().series.entries()].filter(([, series]) => bound === "" || series.bound === bound);
  };
  const chosenSeries = () => inBound().filter(([, series]) => !off.has(series.label));
  const ink = (color) =>
    color === "#000000" ? getComputedStyle(document.body).getPropertyValue("--ink").trim() : color;

  function refill(select, options, wanted) {
    select.replaceChildren(...options);
    if ([...select.options].some((option) => option.value === wanted)) select.value = wanted;
  }

  function offerSet() {
    const set = chosenSet();
    const bounds = set.bounds.map((bound) => element("option", { value: bound.name }, bound.label));
    refill(at("view-bound"), [element("option", { value: "" }, "all"), ...bounds], at("view-bound").value);
    const groups = [...new Set(set.quantities.map((each) => each.group))].map((group) => {
      const options = set.quantities.filter((each) => each.group === group);
      return element("optgroup", { label: group }, ...options.map((q) => element("option", { value: q.name }, q.option)));
    });
    refill(at("view-quantity"), groups, at("view-quantity").value || "of the gradient φ̄ of the guide/signal-to-noise ratio");
    at("view-note").textContent = set.note;
    offerSeries();
  }

  function offerSeries() {
    const boxes = inBound().map(([, series]) => {
      const box = element("input", { type: "checkbox", checked: !off.has(series.label) });
      box.addEventListener("change", () => {
        box.checked ? off.delete(series.label) : off.add(series.label);
        draw();
      });
      return element("label", {}, box, swatch(series), series.label);
    });
    at("view-series").replaceChildren(...boxes);
    draw();
  }

  function swatch(series) {
    const make = (name, attributes) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", name);
      Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
      return made;
    };
    const color = ink(series.color);
    const svg = make("svg", { width: 40, height: 14, viewBox: "-20 -7 40 14", "aria-hidden": "true" });
    const dash = series.dash.join(" ");
    svg.append(
      make("path", { d: "M-20,0H20", stroke: color, "stroke-width": 2, "stroke-dasharray": dash === "1 0" ? "" : dash }),
      make("path", { d: series.shape, fill: color, transform: "scale(4.5)" }),
    );
    return svg;
  }

  function rows() {
    const quantity = chosenQuantity();
    return chosenSeries().flatMap(([number, series]) =>
      quantity.points
        .filter((point) => point.series === number && point.shown)
        .map((point) => ({
          ...point,
          color: ink(series.color),
          dash: series.dash,
          shape: series.shape,
          text: `${series.label}, K = ${point.k}: ${point.text}`,
        })),
    );
  }

  async function draw() {
    const mine = ++drawing;
    const quantity = chosenQuantity();
    const shown = rows();
    const title = `${quantity.label}, ${quantity.group}`;
    at("view-title").textContent = title.charAt(0).toUpperCase() + title.slice(1);
    at("view-chart").setAttribute("aria-label", `Chart of ${title} against the number of samples K`);
    write(quantity);
    if (shown.length === 0) return blank();
    const spec = { ...specs[quantity.log ? "log" : "linear"], datasets: { rows: shown } };
    const made = await vegaEmbed("#view-plot", spec, options());
    if (mine !== drawing) {
      made.finalize();
      if (rows().length === 0) blank();
      return;
    }
    if (view) view.finalize();
    view = made;
    walkable([...at("view-plot").querySelectorAll(".mark-symbol path")]);
  }

  // Where there is nothing to draw, a sentence says so: axes without a mark would look like a fault.
  function blank() {
    if (view) view.finalize();
    view = null;
    const none = chosenSeries().length === 0 ? "no series is chosen." : "the table has what was measured.";
    at("view-plot").replaceChildren(element("p", { className: "blank" }, `Nothing to draw: ${none}`));
    at("view-point").textContent = "";
  }

  function options() {
    const style = getComputedStyle(document.body);
    const [line, text] = ["--line", "--ink"].map((name) => style.getPropertyValue(name).trim());
    const axis = { gridColor: line, domainColor: text, tickColor: text, labelColor: text, titleColor: text };
    const fonts = { labelFont: "system-ui, sans-serif", titleFont: "system-ui, sans-serif", labelFontSize: 12 };
    return {
      mode: "vega-lite",
      renderer: "svg",
      actions: false,
      tooltip: { theme: dark.matches ? "dark" : "light" },
      config: { background: "transparent", view: { stroke: null }, axis: { ...axis, ...fonts, titleFontSize: 12 } },
    };
  }

  // One stop of the Tab key for all points; the arrow keys walk from one to the next.
  function walkable(points) {
    const say = (point) => (at("view-point").textContent = point.getAttribute("aria-label"));
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    points.forEach((point, number) => {
      point.setAttribute("tabindex", number === 0 ? "0" : "-1");
      point.addEventListener("focus", () => say(point));
      point.addEventListener("pointerenter", () => say(point));
      point.addEventListener("keydown", (event) => {
        if (!(event.key in steps)) return;
        event.preventDefault();
        const next = points[(number + steps[event.key] + points.length) % points.length];
        point.setAttribute("tabindex", "-1");
        next.setAttribute("tabindex", "0");
        next.focus();
      });
    });
    at("view-point").textContent = points.length ? "Point at a mark, or go to it by Tab and the arrow keys." : "";
  }

  const unresolved = (point) => !point.shown && point.value !== null;

  // The same numbers as text, those that the chart leaves out too.
  function write(quantity) {
    const chosen = chosenSeries();
    const found = quantity.points.filter((point) => chosen.some(([number]) => number === point.series));
    const ks = [...new Set(found.map((point) => point.k))].sort((a, b) => a - b);
    const head = element("tr", {}, element("th", { scope: "col" }, "series"));
    head.append(...ks.map((k) => element("th", { scope: "col", className: "number" }, `K = ${k}`)));
    const body = chosen.map(([number, series]) => {
      const cells = ks.map((k) => {
        const point = found.find((each) => each.series === number && each.k === k);
        const text = point ? point.text + (unresolved(point) ? " *" : "") : "–";
        return element("td", { className: "number" }, text);
      });
      return element("tr", {}, element("th", { scope: "row" }, series.label), ...cells);
    });
    at("view-head").replaceChildren(head);
    at("view-body").replaceChildren(...body);
    const out = found.filter(unresolved).length;
    at("view-status").textContent =
      `${chosen.length} series, ${found.length} values.` +
      (out ? ` ${out} marked * not resolved from zero: not drawn on the logarithmic axis.` : "");
  }

  sets.forEach((set, number) => at("view-set").append(element("option", { value: number }, set.label)));
  at("view-set").addEventListener("change", offerSet);
  at("view-bound").addEventListener("change", offerSeries);
  at("view-quantity").addEventListener("change", draw);
  dark.addEventListener("change", offerSeries);
  at("view").hidden = false;
  offerSet();
})();
