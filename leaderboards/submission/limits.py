"""How much of a submission is looked at: more than any honest one needs, and an end to every loop."""

from __future__ import annotations

#: Files of a submission: two a cell, and a few more. A track has some ten cells.
MAX_FILES = 2_000
#: Bytes of all files together, as they lie on a disk once they are unpacked: a plain zip has room for them.
MAX_TOTAL = (2 << 30) - (16 << 20)
#: Bytes of the weights or the program; read as a stream.
MAX_WEIGHTS = 1536 << 20
#: Bytes of a program, which is read whole.
MAX_PROGRAM = 512 << 20
#: Bytes of a row, of a table of queries, and of all results together.
MAX_ROW = 1 << 20
MAX_TABLE = 16 << 20
MAX_RESULTS = 384 << 20
#: Bytes of `submission.yaml` and of a grid.
MAX_TEXT = 32 << 10
#: Bytes of `plan.json` and `manifest.json`.
MAX_JSON = 4 << 20
#: Bytes of the header of a safetensors file, and tensors in it.
MAX_HEADER = 4 << 20
MAX_TENSORS = 20_000

#: Characters of a path inside a submission, and folders it may go through, the archive's own one among them.
MAX_PATH = 200
MAX_DEPTH = 4

#: Times that a file may be larger than what it is packed in, once it is larger than `RATIO_FROM` bytes.
MAX_RATIO = 100
RATIO_FROM = 1 << 20
#: Bytes of a zip's list of files.
MAX_DIRECTORY = 4 << 20

#: Lists and mappings inside each other, and values in all, of YAML and of JSON.
MAX_NESTING = 12
MAX_EVENTS = 4_000

#: Rows of a table of queries, those of all trials: more than any set has. LLCM has ten trials of some 9,000 queries.
MAX_QUERIES = 200_000
#: Flags of a row.
MAX_FLAGS = 64
#: Characters of a text in a row, and of an image's path.
MAX_CHARACTERS = 4096
MAX_ID = 300
#: Bytes of a table's list of columns, and of the table when it is unpacked.
MAX_FOOTER = 128 << 10
MAX_UNPACKED = 64 << 20
#: Rows of a page on average, and pages besides: a dictionary, and one of what is left.
MIN_PAGE_ROWS, MORE_PAGES = 4, 3

#: Bytes that are read at once.
CHUNK = 1 << 20

#: Findings that one rule reports; the rest is counted.
MAX_FINDINGS = 50
