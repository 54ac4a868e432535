"""One page of results: every experiment's figure, table and verdicts, and an interactive view of the sweeps.

make report
python -m experiments.report [RESULTS_DIR] [--out FILE] [--missing run|leave]
"""
