"""The chart of the interactive view: two Vega-Lite specifications, made by Altair, that the page fills with rows.

A row is one point: `series`, `k`, `value`, `low`, `high`, `text`, and its look, `color`, `dash`, `shape`. The looks are
data, not scales, so that a selection changes the rows and nothing else.
"""

import json
from typing import Any

import altair as alt
import vl_convert

HEIGHT = 380


def specs() -> dict[str, Any]:
    """Returns `{"log": …, "linear": …}`, the chart with either vertical axis."""
    log, linear = alt.Scale(type="log", nice=False), alt.Scale(type="linear", zero=False, nice=False)
    return {"log": specification(log), "linear": specification(linear)}


def specification(scale: alt.Scale) -> dict[str, Any]:
    """Returns bands, lines and points against K, on a base-2 axis, from the data set `rows`."""
    look = {"color": alt.Color("color:N", scale=None, legend=None), "detail": "series:N"}
    x = alt.X("k:Q", title="samples K", scale=alt.Scale(type="log", base=2, nice=False, padding=12))
    chart = alt.Chart(alt.NamedData("rows")).encode(x=x)
    value = alt.Y("value:Q", title=None, scale=scale, axis=alt.Axis(format="~g", tickCount=6))
    band = chart.mark_area(opacity=0.18, aria=False).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q", **look)
    line = chart.mark_line(strokeWidth=2, aria=False).encode(
        y=value, strokeDash=alt.StrokeDash("dash:N", scale=None, legend=None), **look
    )
    bar = chart.mark_rule(strokeWidth=1.2, aria=False).encode(y="low:Q", y2="high:Q", **look)
    point = chart.mark_point(filled=True, size=75, opacity=1).encode(
        y=value,
        shape=alt.Shape("shape:N", scale=None, legend=None),
        tooltip=alt.Tooltip("text:N"),
        description=alt.Description("text:N"),
        **look,
    )
    layers = alt.layer(band, bar, line, point).properties(width="container", height=HEIGHT)
    return layers.to_dict()


def script() -> str:
    """Returns Vega, Vega-Lite and Vega-Embed as one script that loads nothing; it defines `vegaEmbed`."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", r"<\/script")


def as_json(value: Any) -> str:
    """Returns JSON that may stand inside a `<script>` element.

    Raises:
      ValueError: a number is NaN or infinite, which JSON does not have.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", r"\u003c")
