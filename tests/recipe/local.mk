# What tools/train-emoji does with names and captions, which needs neither pictures nor PyTorch.
dist_check_SCRIPTS += %reldir%/data.sh
EXTRA_DIST += %reldir%/test_data.py
TESTS += tests/recipe/data.sh
