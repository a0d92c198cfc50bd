"""Time that passes when a test says so."""

from wellnet_sse.progress.items import Clocks

START_MS = 1_752_722_400_000  # 2025-07-17T03:20:00Z, the moment of the source document


class FakeClock:
    """Both clocks of `Clocks`, turned together by `advance`."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic(self) -> float:
        return (self.now_ms - START_MS) / 1000

    def advance(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)

    @property
    def clocks(self) -> Clocks:
        return Clocks(self.wall_ms, self.monotonic)
