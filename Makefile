# make demo   index the sample PDFs and ask three questions
# make test   run the tests
# make check  lint, formatting, types, layers
# make screens  draw the README's pictures of the page anew (needs Chromium)
#
# PYTHON=python3.12 picks another interpreter. On Linux without a GPU set TORCH_INDEX to PyTorch's
# CPU index (see the README), or the plain torch wheel brings several GB of CUDA.

PYTHON ?= python3
PDFS ?= tests/samples/pdfs
HARD ?= ../shared/robust
BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test check screens soak fuzz robust verbatim ray bench clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(INSTALLED)
	@$(BIN)/python tests/samples/demo.py

test: $(INSTALLED)
	$(BIN)/python -m pytest

check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

screens: $(INSTALLED)
	$(BIN)/python tests/browser/screenshots.py ui/screenshots

# The same laws with fifty times the random examples (profile "soak" in tests/conftest.py), the
# indexer killed at every single step and at 200 instants, and 32 clients on the service for five
# minutes, by hand.
soak: $(INSTALLED)
	$(BIN)/python -m pytest --hypothesis-profile=soak --timeout=0

# 10,000 cases each: PDFs with spoiled bytes for the reader; text for cleaning, order and chunks.
fuzz: $(INSTALLED)
	$(BIN)/python -m pytest --hypothesis-profile=fuzz --timeout=0 tests/pdf/test_mutated.py \
	  tests/pdf/test_clean.py tests/pdf/test_order.py tests/pdf/test_footnotes.py tests/pdf/test_chunk.py

# Every file of a folder of hard PDFs through `ragformer index`, by hand.
robust: $(INSTALLED)
	$(BIN)/python tests/robust.py $(HARD)

# The questions of a reading file over its articles typeset as PDFs, each answered and its quote
# looked for in the file: make verbatim READING=squad-dev.jsonl.xz
verbatim: $(INSTALLED)
	rm -rf build/verbatim
	$(BIN)/python tests/samples/typeset_reading.py $(READING) build/verbatim --articles 20 --questions 500
	RAGFORMER_THRESHOLD=0 $(BIN)/ragformer eval pdfqa build/verbatim

# The cluster of two nodes made here; its workers, a node and the driver killed while they index,
# its replicas while they answer.
ray: $(INSTALLED)
	$(BIN)/pip install -e '.[ray]'
	RAY_TESTS=all $(BIN)/python -m pytest --timeout=0 -m ray tests/cluster

bench: $(INSTALLED)
	$(BIN)/ragformer bench index $(PDFS)
ifdef READING
	$(BIN)/ragformer bench query $(READING)
	$(BIN)/ragformer bench decode $(READING)
	$(BIN)/ragformer bench ask $(READING)
else
	@echo "query, decode and ask need questions: make bench READING=squad-dev.jsonl.xz (the form is in ragformer/train/README.md)"
endif

clean:
	rm -rf .venv build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find ragformer cli ui tests -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.version_info >= (3, 11) or sys.exit( \
	  "ragformer needs Python 3.11 or newer and $(PYTHON) is " + v + "; try: make PYTHON=python3.12")'
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install -e '.[dev]' -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	@touch $@
