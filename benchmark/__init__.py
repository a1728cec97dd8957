"""The harness: records, grids, data sets, evaluation, planner, runner, store and the table of commands."""
