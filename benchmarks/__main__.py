"""`python -m benchmarks`: every benchmark, one after the other; some hours on two slow cores."""

import subprocess
import sys

ALL = (
    *("predict", "boxcost", "volume", "boxes", "plugin", "interactive", "scribbles", "slices"),
    *("guidance", "actions", "afterwards", "tags", "slicetags", "tag_speed", "views", "pretrain"),
)


def main() -> None:
    """Run each in a process of its own; go on when one fails, and say so at the end."""
    failed = [
        name
        for name in ALL
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
    ]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
