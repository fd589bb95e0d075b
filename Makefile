# `make check` is what continuous integration runs. `make test` is the README's own second line.
PYTHON ?= python3
VENV := .venv/bin

.PHONY: check test kill-matrix whole-way lint wheel format facts facts-check data-update data-check data-wheel

check: test kill-matrix whole-way lint facts-check wheel

test:
	bash -c "$$(sed -n 's/^    \(.*pytest\)$$/\1/p' README.md | head -n 1)"

# Every instant at which a command can be killed or a call can fail; the plain tests take each call once.
kill-matrix:
	PYTEST_ADDOPTS= $(VENV)/pytest -m kill_matrix

# From nothing to a served model and back to nothing, against a stand-in account: by itself, since it trains and serves.
whole-way:
	PYTEST_ADDOPTS= $(VENV)/pytest -n 0 -m whole_way tests/end_to_end

# The embedded facts are built from facts/ (facts/README.md) and policies/, byte for byte. Over a minute.
facts:
	PYTHONPATH=. $(VENV)/python scripts/build_facts.py
	PYTHONPATH=. $(VENV)/python scripts/build_license_facts.py
	PYTHONPATH=. $(VENV)/python scripts/build_fingerprints.py

facts-check:
	PYTHONPATH=. $(VENV)/python scripts/build_facts.py --check
	PYTHONPATH=. $(VENV)/python scripts/build_license_facts.py --check
	PYTHONPATH=. $(VENV)/python scripts/build_fingerprints.py --check

$(VENV)/ruff:
	$(VENV)/pip install -q '.[lint]'

lint: $(VENV)/ruff
	$(VENV)/ruff format --check .
	$(VENV)/ruff check .
	$(VENV)/mypy
	$(VENV)/lint-imports

# The wheel must carry its data: install it alone, elsewhere, and ask it something.
wheel:
	rm -rf build/wheel && mkdir -p build/wheel
	$(VENV)/pip wheel -q --no-deps -w build/wheel .
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/pip install -q build/wheel/modelpick-*.whl
	cd build/wheel && venv/bin/modelpick recommend --commercial --offline --limit 3 && venv/bin/modelpick doctor

format: $(VENV)/ruff
	$(VENV)/ruff format .
	$(VENV)/ruff check --fix .

# The data release: what .github/workflows/data.yml does on a schedule. HF_ENDPOINT names another Hub, DATA_PRICES
# another price list than the public one; `modelpick update` says what was asked and found.
DATA = build/data
DATA_ENV = XDG_DATA_HOME=$(CURDIR)/$(DATA) MODELPICK_DATA=newest PYTHONPATH=.

data-update:
	$(DATA_ENV) $(VENV)/python scripts/data_release.py update $(if $(DATA_PRICES),--prices $(DATA_PRICES))

# The bounds against the embedded facts, then the tests of the data themselves, on the new facts: all but those that
# compare the embedded facts with their own sources and page.
DATA_TESTS = tests/catalog/test_data.py tests/offers/test_embedded_data.py \
	-k "not prices_reproduce and not old_price_lists and not page_on_data"

data-check:
	$(DATA_ENV) $(VENV)/python scripts/data_release.py check
	MODELPICK_TEST_SNAPSHOTS=$(CURDIR)/$(DATA)/modelpick/snapshots $(VENV)/pytest -q $(DATA_TESTS)

data-wheel:
	$(DATA_ENV) $(VENV)/python scripts/data_release.py wheel $(DATA)/dist
