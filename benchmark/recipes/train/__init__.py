"""Training recipes that an installed package brings along; `robustreid train NAME` takes one."""
