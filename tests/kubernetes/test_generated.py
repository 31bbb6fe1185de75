"""Every file that is made from another says what it would say if it were made now."""

import unittest

import manifests
import regenerate
from cases import GOLDEN, ROOT


class Generated(unittest.TestCase):
    maxDiff = None

    def test_generated_files_are_up_to_date(self):
        for path, contents in regenerate.generated():
            with self.subTest(path.relative_to(ROOT)):
                if contents is None:
                    print(f"\nno kubectl: {path.name} is held to the digest of its sources alone")
                    continue
                self.assertTrue(path.exists(), "run tests/kubernetes/regenerate.py")
                self.assertEqual(path.read_text(), contents, "run tests/kubernetes/regenerate.py")

    def test_overlays_were_made_from_the_files_as_they_are(self):
        self.assertEqual(manifests.OVERLAYS, ["edge", "sidecar"])
        for name in manifests.OVERLAYS:
            with self.subTest(name):
                first = manifests.overlay_golden(name).read_text().splitlines(keepends=True)[0]
                self.assertEqual(first, manifests.overlay_header(name))

    def test_no_golden_file_is_left_over(self):
        made = {path for path, _ in regenerate.generated()}
        self.assertEqual(set(GOLDEN.iterdir()) - made, set())


if __name__ == "__main__":
    unittest.main()
