from audiotag.testing.check import Check as Check
from audiotag.testing.marking import parametrize_with_checks as parametrize_with_checks
from audiotag.testing.running import CheckResult as CheckResult
from audiotag.testing.running import Report as Report
from audiotag.testing.running import all_checks as all_checks
from audiotag.testing.running import run_checks as run_checks
