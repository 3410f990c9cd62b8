# SPDX-License-Identifier: Apache-2.0
"""Run every test here and in ../acceptance, or those named (test_wire, test_wire.Encodings), and end with one line: N passed, N failed."""
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


class Result(unittest.TextTestResult):
    """Counts what passed, which unittest does not: subtests and class fixtures blur the difference of the totals."""
    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def main():
    folders = [HERE, os.path.join(os.path.dirname(HERE), "acceptance")]
    sys.path[:0] = folders
    loader = unittest.TestLoader()
    names = sys.argv[1:] or sorted(name[:-3] for folder in folders for name in os.listdir(folder)
                                   if name.startswith("test_") and name.endswith(".py"))
    chosen = loader.loadTestsFromNames(names)
    result = unittest.TextTestRunner(verbosity=1, resultclass=Result).run(chosen)
    failed_tests = {getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors}
    failed = len(failed_tests) + len(result.unexpectedSuccesses)
    if result.passed + failed + len(result.skipped) == 0:
        failed = 1  # nothing ran: that is no success
    sys.stderr.flush()
    print("%d passed, %d failed" % (result.passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
