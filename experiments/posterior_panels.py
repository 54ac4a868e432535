"""The figure of `posteriors`."""

import pandas as pd
from matplotlib.figure import Figure
from experiments import style


def figure(rows: pd.DataFrame) -> Figure:
    return style.panels().figure
