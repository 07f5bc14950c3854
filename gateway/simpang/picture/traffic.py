"""The vehicles of the demo's junction: lanes, lights and who drives where. Pure: no clock, no picture.

The world is flat and measured in metres, its origin the middle of the junction. Traffic keeps to the left, as
in Indonesia. Vehicles follow the one before them and stop at red by the intelligent driver model (Treiber,
Hennecke and Helbing, 2000).
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

# Where lanes begin and end: just outside what the picture shows.
REACH_M = 72.0
STOP_LINE_M = 12.0
GREEN_S = 9.0
AMBER_S = 2.0
ALL_RED_S = 1.5
CYCLE_S = 2 * (GREEN_S + AMBER_S + ALL_RED_S)

# Comfortable figures of a city: m/s2, m/s2, s, m.
ACCELERATION = 2.2
BRAKING = 3.0
HEADWAY_S = 0.9
STANDSTILL_M = 1.6


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of vehicle: sizes in metres, speed in m/s, how common it is, how many colours it comes in."""

    name: str
    length_m: float
    width_m: float
    height_m: float
    speed: float
    share: int
    colours: int


MOTORBIKE = Kind("motorbike", 2.0, 0.8, 1.5, 11.5, 5, 4)
CAR = Kind("car", 4.4, 1.9, 1.5, 12.0, 6, 6)
ANGKOT = Kind("angkot", 4.6, 1.9, 2.1, 10.0, 2, 2)
TRUCK = Kind("truck", 7.5, 2.4, 3.0, 9.0, 1, 2)
BUS = Kind("bus", 10.0, 2.5, 3.2, 9.5, 1, 2)
KINDS = (MOTORBIKE, CAR, ANGKOT, TRUCK, BUS)


@dataclass(frozen=True, slots=True)
class Lane:
    """heading: 0 along +x, 1 along +y, 2 along -x, 3 along -y. offset_m: leftwards from the road's middle."""

    heading: int
    offset_m: float

    def at(self, along_m: float) -> tuple[float, float]:
        """World position of a point of the lane's middle, along_m past the middle of the junction."""
        if self.heading == 0:
            return along_m, -self.offset_m
        if self.heading == 1:
            return self.offset_m, along_m
        if self.heading == 2:
            return -along_m, self.offset_m
        return -self.offset_m, -along_m


@dataclass(slots=True)
class Vehicle:
    """along_m: its front, from the middle of the junction; speed in m/s."""

    kind: Kind
    colour: int
    along_m: float
    speed: float
    top_speed: float


@dataclass(slots=True)
class Queue:
    """One lane's vehicles, the foremost first."""

    lane: Lane
    vehicles: list[Vehicle] = field(default_factory=list)
    next_arrival_s: float = 0.0


class Traffic:
    """Everything that moves. The same seed gives the same traffic."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - decorates a picture, decides nothing
        self._time_s = self._random.uniform(0, CYCLE_S)
        self.queues = [Queue(Lane(heading, offset)) for heading in range(4) for offset in (1.75, 5.25)]
        for queue in self.queues:
            queue.next_arrival_s = self._time_s + self._random.uniform(0, 4)
        for _ in range(300):  # half a minute beforehand, so that the first picture is not an empty road
            self.step(0.1)

    def step(self, seconds: float) -> None:
        """Move everything on by a time; long waits are walked in short steps."""
        while seconds > 0:
            dt = min(seconds, 0.1)
            seconds -= dt
            self._time_s += dt
            for queue in self.queues:
                self._step_queue(queue, dt)

    def light(self, heading: int) -> str:
        """ "green", "amber" or "red" for those who drive along a heading."""
        t = (self._time_s + (0 if heading % 2 == 0 else CYCLE_S / 2)) % CYCLE_S
        if t < GREEN_S:
            return "green"
        return "amber" if t < GREEN_S + AMBER_S else "red"

    def _step_queue(self, queue: Queue, dt: float) -> None:
        light = self.light(queue.lane.heading)
        ahead: Vehicle | None = None
        for vehicle in queue.vehicles:
            gaps = []
            if ahead is not None:
                gaps.append((ahead.along_m - ahead.kind.length_m - vehicle.along_m, ahead.speed))
            to_line = -STOP_LINE_M - vehicle.along_m
            could_stop = to_line > vehicle.speed**2 / (2 * BRAKING)
            if to_line > 0 and (light == "red" or (light == "amber" and could_stop)):
                # Comes to rest half a standstill's gap before the line.
                gaps.append((to_line + STANDSTILL_M / 2, 0.0))
            push = min(
                (_acceleration(vehicle, gap, speed) for gap, speed in gaps),
                default=_acceleration(vehicle, math.inf, 0.0),
            )
            vehicle.speed = max(0.0, vehicle.speed + push * dt)
            vehicle.along_m += vehicle.speed * dt
            ahead = vehicle
        if queue.vehicles and queue.vehicles[0].along_m - queue.vehicles[0].kind.length_m > REACH_M:
            queue.vehicles.pop(0)
        if self._time_s >= queue.next_arrival_s:
            self._arrive(queue)

    def _arrive(self, queue: Queue) -> None:
        last = queue.vehicles[-1] if queue.vehicles else None
        if last is not None and last.along_m - last.kind.length_m < -REACH_M + 8:
            return  # the lane is full to its end; try again at the next step
        kinds = [kind for kind in KINDS if queue.lane.offset_m > 2 or kind is not TRUCK]
        kind = self._random.choices(kinds, [kind.share for kind in kinds])[0]
        top = kind.speed * self._random.uniform(0.85, 1.15)
        start = min(top, last.speed if last is not None else top)
        queue.vehicles.append(Vehicle(kind, self._random.randrange(kind.colours), -REACH_M, start, top))
        queue.next_arrival_s = self._time_s + self._random.expovariate(1 / 4.5) + 0.8


def _acceleration(vehicle: Vehicle, gap_m: float, speed_ahead: float) -> float:
    free = 1 - (vehicle.speed / vehicle.top_speed) ** 4
    closing = vehicle.speed * (vehicle.speed - speed_ahead) / (2 * math.sqrt(ACCELERATION * BRAKING))
    wish = STANDSTILL_M + max(0.0, vehicle.speed * HEADWAY_S + closing)
    return ACCELERATION * (free - (wish / max(gap_m, 0.2)) ** 2)
