"""Grids that an installed package brings along; `robustreid run NAME` takes one."""
