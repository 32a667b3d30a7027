# Everything runs in $(VENV); `make install` and `make demo` are all a fresh machine needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# The four IDX files; Debian's package dataset-fashion-mnist puts them here.
FASHION_MNIST ?= /usr/share/datasets/fashion-mnist

# As `labeler` itself does: threads of numpy that wait for each other make a mixture take four times as long to fit.
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: install demo test test-deep check format bench-learning bench-simulate bench-acquisition bench-model bench-warm-start bench-idle bench-discovery bench-store bench-leases bench-crash bench-page bench-map screenshots

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/labeler demo

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The record against plain models of it, with ten times as many random sequences; a quarter of an hour.
test-deep: install
	DEPTH=10 $(BIN)/python -m pytest --timeout 3600 tests/test_store_model.py tests/test_overlap_model.py

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# From a label's commit to a version that has learned from it, on 60,000 images with the page open.
bench-learning: install
	$(BIN)/python -P tests/bench_learning.py $(FASHION_MNIST)

# Learning curve of 100 labels, three rng seeds: curve.csv, curve.png and report.md in runs/.
bench-simulate: install
	$(BIN)/labeler simulate $(FASHION_MNIST) --budget 100 --rng-seeds 0,1,2 --out runs/fashion-100

# The long runs behind docs/model.md, hours on two cores. Rows of today's recipe are not measured again; a table of an older one
# stops the run until it is moved away. PARTS="curve ablation" for some.
bench-model: install
	PYTHONPATH=tests $(BIN)/python -P tests/bench_model.py $(FASHION_MNIST) $(PARTS)

# Training that never starts over against training from scratch, labels corrected and retracted; goes on where it was cut.
bench-warm-start: install
	PYTHONPATH=tests $(BIN)/python -P tests/bench_warm_start.py $(FASHION_MNIST) $(RNG_SEEDS)

# What each acquisition is worth on features that stay as they are: the tables of docs/acquisition.md. Goes on where it was cut.
bench-acquisition: install
	PYTHONPATH=tests $(BIN)/python -P tests/bench_acquisition.py $(FASHION_MNIST) $(PARTS)

# The share of a core that a trainer takes which has nothing to do; five minutes.
bench-idle: install
	$(BIN)/python -P tests/bench_idle.py

# Classes without a label found beside labeled ones, and with no label at all: docs/benchmarks/discovery.md. Goes on where it was cut.
bench-discovery: install
	PYTHONPATH=tests $(BIN)/python -P tests/bench_discovery.py $(FASHION_MNIST) $(CASES)

# A million images in one record: import, next image, label, status, export; IMAGES=100000 for fewer. DATABASE=postgresql
# measures it there.
bench-store: install
	PYTHONPATH=tests $(BIN)/python -P tests/bench_store.py $(IMAGES)

# Sixteen clients on one record: docs/benchmarks/leases.md. A minute or two. DATABASE=postgresql for that one.
bench-leases: install
	PYTHONPATH=tests $(BIN)/python -P tests/bench_leases.py $(SAMPLES)

# A hundred kills of server, trainer and import: docs/benchmarks/crash.md. Some twenty minutes.
bench-crash: install
	PYTHONPATH=tests $(BIN)/python -P tests/bench_crash.py $(KILLS)

# From a key to the next image in Chromium, beside a page of plain components: docs/benchmarks/page.md. Some ten minutes.
bench-page: install
	PYTHONPATH=tests $(BIN)/python -P tests/bench_page.py $(PRESSES)

# Frames while the map of 60,000 images is dragged and zoomed: docs/benchmarks/map.md. A minute or two.
bench-map: install
	PYTHONPATH=tests $(BIN)/python -P tests/bench_map.py $(IMAGES)

# The pictures of README and docs, from a real run of the demo that a program labels by keyboard.
screenshots: install
	PYTHONPATH=tests $(BIN)/python -P tests/screenshots.py $(FASHION_MNIST)
