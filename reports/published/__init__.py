"""Numbers that others published, in files of their own; `loading.py` reads them."""
