dist_check_SCRIPTS += %reldir%/units.sh %reldir%/rules.sh %reldir%/contract.sh
EXTRA_DIST += %reldir%/alerts_test.yml
TESTS += tests/ops/units.sh tests/ops/rules.sh tests/ops/contract.sh
