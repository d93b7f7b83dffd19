"""What a user would write instead of SUMMARY; prints its answer and the CPU seconds of the loop."""

import sys
import time


def main() -> None:
    started = time.process_time()
    greatest, least, total, count = float("-inf"), float("inf"), 0.0, 0
    with open(sys.argv[1], encoding="ascii") as lines:
        for line in lines:
            value = float(line)
            if value > greatest:
                greatest = value
            if value < least:
                least = value
            total += value
            count += 1
    print(greatest, least, total / count, time.process_time() - started)


if __name__ == "__main__":
    main()
