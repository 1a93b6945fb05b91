# make install | demo | demo-mixvoxels | demo-gaussians | demo-from-zero | test | test-slow | lint | clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := syncnerf/data/demo
# Tests run in as many processes, of one thread each; 0 for none but pytest's own.
WORKERS ?= 2

.PHONY: install demo demo-mixvoxels demo-gaussians demo-from-zero test test-slow lint clean

install: $(VENV)/.installed

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

demo: install
	rm -rf runs/demo
	$(BIN)/syncnerf train --config configs/kplanes/demo.txt --datadir $(DEMO)

# The same scene with MixVoxels.
demo-mixvoxels: install
	rm -rf runs/demo_mixvoxels
	$(BIN)/syncnerf train --config configs/mixvoxels/demo.txt --datadir $(DEMO)

# And with Gaussians.
demo-gaussians: install
	rm -rf runs/demo_gaussians
	$(BIN)/syncnerf train --config configs/gaussians/demo.txt --datadir $(DEMO)

# The first again, without synchronisation from motion: offsets are learned from zero.
demo-from-zero: install
	rm -rf runs/demo_from_zero
	$(BIN)/syncnerf train --config configs/kplanes/demo.txt --datadir $(DEMO) --expname demo_from_zero --offset-init zero

# Tests start many processes: modules are compiled once, whatever the caller's environment says.
test: export PYTHONDONTWRITEBYTECODE =
test: install lint
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

test-slow: install
	$(BIN)/python -m pytest -q -m slow

lint: install
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) build *.egg-info
