"""Who is shown and who is not: furniture that stands, people who sit, and whatever happens to camera and light."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from livecomp.correction import F32Array
from livecomp.errors import MatteError, ModelError
from livecomp.frame import U8Array
from livecomp.segment import presence
from livecomp.segment.presence import PresenceFilter

FPS = 30
FRAME_NS = 1_000_000_000 // FPS
WIDTH, HEIGHT = 640, 360
PERSON = (slice(120, 360), slice(60, 220))
BED = (slice(220, 360), slice(380, 620))
AROUND_BED = (slice(0, 220), slice(None)), (slice(None), slice(0, 380)), (slice(None), slice(620, None))
LAMP = 0.8 * np.exp(-((np.hypot(*np.ogrid[-290:70, -500:140])[..., None] / 280) ** 2)).astype(np.float32)
"""How much brighter a lamp above the bed makes each pixel."""
SCALE = 4
MATTE = (HEIGHT // SCALE, WIDTH // SCALE)


class FakeFaces:
    """Finds what it is told, in pixels of the frame, and counts how often it is asked."""

    def __init__(self) -> None:
        self.face_xy: tuple[int, int] | None = None
        self.error: ModelError | None = None
        self.asked = 0

    def open(self) -> None:
        pass

    def find(self, rgb: U8Array) -> F32Array:
        self.asked += 1
        if self.error is not None:
            raise self.error
        if self.face_xy is None:
            return np.zeros((0, 2), np.float32)
        rows, columns = np.nonzero((rgb == MARK).all(axis=2))
        return np.stack((columns, rows), axis=1)[:1].astype(np.float32)

    def close(self) -> None:
        pass


MARK = np.array((1, 2, 3), np.uint8)
"""Colour of the pixel that `FakeFaces` takes for a face."""


@pytest.fixture
def faces(monkeypatch: pytest.MonkeyPatch) -> FakeFaces:
    fake = FakeFaces()
    monkeypatch.setattr(presence, "FaceDetector", lambda: fake)
    return fake


class Room:
    """Frames of a textured room, with a sensor's noise and, where `faces` says so, a face."""

    def __init__(self, faces: FakeFaces) -> None:
        self._faces = faces
        rng = np.random.default_rng(0)
        coarse = rng.integers(40, 216, (HEIGHT // 8 + 8, WIDTH // 8 + 8, 3), np.uint8)
        self._wall = cv2.resize(coarse, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
        self.gain: Callable[[int], F32Array | float] = lambda index: 1.0
        self.shake: Callable[[int], tuple[int, int]] = lambda index: (0, 0)
        self.sway: Callable[[int], float] = lambda index: 0
        self.is_somebody_there: Callable[[int], bool] = lambda index: False
        self.noise = 2.0
        self.plain: tuple[tuple[slice, slice], ...] = ()
        """What has no texture."""
        self._grains = rng.standard_normal((11, HEIGHT, WIDTH, 3), np.float32)

    def frame(self, index: int) -> U8Array:
        left, top = self.shake(index)
        rgb = self._wall[top : top + HEIGHT, left : left + WIDTH].astype(np.float32)
        if self.is_somebody_there(index):
            rgb[PERSON] = self._wall[: PERSON[0].stop - PERSON[0].start, -(PERSON[1].stop - PERSON[1].start) :]
        by = np.array(((1, 0, -self.sway(index)), (0, 1, 0)), np.float32)
        rgb[PERSON] = cv2.warpAffine(rgb, by, (WIDTH, HEIGHT))[PERSON]
        for part in self.plain:
            rgb[part] = 128
        rgb = rgb * self.gain(index) + self.noise * self._grains[index % len(self._grains)]
        frame = np.clip(rgb, 4, 255).astype(np.uint8)
        if self._faces.face_xy is not None:
            x, y = self._faces.face_xy
            frame[y, x] = MARK
        return frame


@pytest.fixture
def room(faces: FakeFaces) -> Room:
    return Room(faces)


def matte(*parts: tuple[slice, slice], shape: tuple[int, int] = MATTE) -> U8Array:
    """What the network is sure of."""
    full = np.zeros((HEIGHT, WIDTH), np.uint8)
    for part in parts:
        full[part] = 1
    return np.ascontiguousarray(full[:: HEIGHT // shape[0], :: WIDTH // shape[1]])


def play(kept: PresenceFilter, room: Room, indices: range, *parts: tuple[slice, slice]) -> Iterator[tuple[bool, bool]]:
    """Whether the person and the bed are shown, frame by frame."""
    sure = matte(*parts)
    for index in indices:
        shown = kept.keep(sure, room.frame(index), index * FRAME_NS)
        assert shown.shape == sure.shape
        assert shown.dtype == np.uint8
        assert not (shown > sure).any()
        person, bed = shown & matte(PERSON), shown & matte(BED)
        for part, whole in ((person, matte(PERSON)), (bed, matte(BED))):
            assert not part.any() or np.array_equal(part, whole & sure), "regions stay or go as a whole"
        yield bool(person.any()), bool(bed.any())


def test_furniture_is_never_shown_and_is_looked_at_all_the_time(room: Room, faces: FakeFaces) -> None:
    assert not any(bed for _, bed in play(PresenceFilter(), room, range(10 * FPS), BED))
    assert 90 <= faces.asked <= 110


def test_somebody_with_a_face_is_shown_at_once_and_the_bed_behind_is_not(room: Room, faces: FakeFaces) -> None:
    faces.face_xy = (140, 160)
    shown = list(play(PresenceFilter(), room, range(3 * FPS), PERSON, BED))
    assert shown == [(True, False)] * (3 * FPS)


@pytest.mark.parametrize("face_xy", [(300, 160), (140, 40), (500, 60), (230, 200), (370, 300)])
def test_a_face_beside_a_region_is_of_somebody_else(room: Room, faces: FakeFaces, face_xy: tuple[int, int]) -> None:
    faces.face_xy = face_xy
    assert not any(any(pair) for pair in play(PresenceFilter(), room, range(FPS), PERSON, BED))


def test_somebody_who_moves_is_shown_within_a_fifth_of_a_second(room: Room) -> None:
    room.sway = lambda index: index // 4 % 8
    shown = list(play(PresenceFilter(), room, range(3 * FPS), PERSON, BED))
    first = shown.index((True, False))
    assert first <= FPS // 5
    assert shown[first:] == [(True, False)] * (3 * FPS - first)


def test_a_slight_movement_now_and_then_is_enough(room: Room) -> None:
    # by one pixel, which is a quarter of one of the matte, every four seconds
    room.sway = lambda index: index // (4 * FPS) % 2
    shown = list(play(PresenceFilter(), room, range(30 * FPS), PERSON, BED))
    first = shown.index((True, False))
    assert first <= 4 * FPS + 3
    assert shown[first:] == [(True, False)] * (30 * FPS - first)


def test_somebody_who_leans_slowly_is_seen_moving(room: Room) -> None:
    # a fifth of a pixel of the matte in a second
    room.sway = lambda index: index * 0.8 / FPS
    shown = list(play(PresenceFilter(), room, range(10 * FPS), PERSON, BED))
    first = shown.index((True, False))
    assert first <= 3 * FPS
    assert shown[first:] == [(True, False)] * (10 * FPS - first)


def test_who_has_gone_leaves_no_bed_behind(room: Room, faces: FakeFaces) -> None:
    """Behind the person is furniture, which the network now takes for one."""
    faces.face_xy = (140, 160)
    kept = PresenceFilter()
    assert all(person for person, _ in play(kept, room, range(FPS), PERSON))
    faces.face_xy = None
    shown = [person for person, _ in play(kept, room, range(FPS, 10 * FPS), PERSON)]
    assert all(shown[: 4 * FPS])
    assert not any(shown[8 * FPS :])


@pytest.mark.parametrize("light", [1.0, 0.6])
def test_who_leaves_a_room_that_was_seen_empty_is_not_taken_for_one_who_sits_still(room: Room, light: float) -> None:
    """Whatever happened to the light meanwhile."""
    come, sit, go = 13 * FPS, 15 * FPS, 18 * FPS
    room.is_somebody_there = lambda index: come <= index < go
    room.sway = lambda index: index // 4 % 8 if come <= index < sit else 0
    room.gain = lambda index: 1.0 if index < sit else light
    looks = range(0, 24 * FPS, 3)
    shown = dict(zip(looks, (person for person, _ in play(PresenceFilter(), room, looks, PERSON, BED)), strict=True))
    assert not any(shown[index] for index in looks if index < come)
    assert all(shown[index] for index in looks if come + FPS // 3 <= index < go)
    assert not any(shown[index] for index in looks if index >= go + FPS // 3)


def test_somebody_who_was_there_from_the_beginning_is_not_part_of_the_empty_room(room: Room) -> None:
    """Every few seconds they move a little, and back again."""
    room.is_somebody_there = lambda index: True
    room.sway = lambda index: index // (4 * FPS) % 2
    looks = range(0, 40 * FPS, 3)
    shown = [person for person, _ in play(PresenceFilter(), room, looks, PERSON, BED)]
    assert all(shown[4 * FPS // 3 + 2 :])


def test_whoever_was_looked_in_the_face_for_long_is_not_part_of_the_empty_room(room: Room, faces: FakeFaces) -> None:
    room.is_somebody_there = lambda index: True
    faces.face_xy = (140, 160)
    kept = PresenceFilter()
    assert all(person for person, _ in play(kept, room, range(0, 14 * FPS, 3), PERSON))
    faces.face_xy = None
    assert all(person for person, _ in play(kept, room, range(14 * FPS, 16 * FPS, 3), PERSON))


def test_who_comes_before_the_network_is_sure_of_them_is_not_part_of_the_empty_room(room: Room) -> None:
    come = 13 * FPS
    room.is_somebody_there = lambda index: index >= come
    kept = PresenceFilter()
    list(play(kept, room, range(0, come + FPS, 3), BED))
    assert all(person for person, _ in play(kept, room, range(come + FPS, come + 4 * FPS, 3), PERSON, BED))


def test_nobody_knows_who_came_while_the_camera_slept(room: Room) -> None:
    room.sway = lambda index: index // 12 % 2
    kept, later = PresenceFilter(), 300 * FPS
    list(play(kept, room, range(0, 2 * FPS, 3), BED))
    shown = [person for person, _ in play(kept, room, range(later, later + 20 * FPS, 3), PERSON)]
    assert all(shown[FPS // 3 :])


def test_somebody_is_seen_moving_while_the_exposure_changes(room: Room) -> None:
    room.gain = lambda index: 1 + 0.3 * np.sin(index / 20)
    room.sway = lambda index: index // 4 % 8
    shown = list(play(PresenceFilter(), room, range(20 * FPS), PERSON, BED))
    first = shown.index((True, False))
    assert first <= FPS // 2
    assert shown[first:] == [(True, False)] * (20 * FPS - first)


def test_what_is_known_of_the_empty_room_ends_with_a_cut(room: Room, faces: FakeFaces) -> None:
    kept, looks = PresenceFilter(), range(0, 14 * FPS, 3)
    list(play(kept, room, looks, PERSON))
    kept.reset()
    faces.face_xy = (140, 160)
    list(play(kept, room, range(14 * FPS, 15 * FPS, 3), PERSON))
    faces.face_xy = None
    # the very same picture, but for the face: somebody may have sat there all the time
    assert all(person for person, _ in play(kept, room, range(15 * FPS, 18 * FPS, 3), PERSON))


@pytest.mark.parametrize(
    "change",
    [
        lambda index: 1.0 if index < 45 else 0.3,
        lambda index: 1 + 0.3 * np.sin(index / 20),
        lambda index: 1 + 0.003 * index * np.linspace(0, 1, WIDTH, dtype=np.float32)[None, :, None],
        lambda index: np.array((1 + 0.003 * index, 1, 1 - 0.003 * index), np.float32),
        lambda index: 1 + (index > 45) * LAMP,
    ],
    ids=["switched", "exposure", "daylight from one side", "white balance", "lamp"],
)
@pytest.mark.parametrize("plain", [(), AROUND_BED], ids=["busy room", "plain room"])
def test_furniture_stays_hidden_when_the_light_changes(
    room: Room, change: Callable[[int], F32Array | float], plain: tuple[tuple[slice, slice], ...]
) -> None:
    room.gain, room.plain = change, plain
    assert not any(bed for _, bed in play(PresenceFilter(), room, range(4 * FPS), BED))


@pytest.mark.parametrize("step", [1, 7])
def test_furniture_stays_hidden_when_the_camera_moves(room: Room, step: int) -> None:
    room.shake = lambda index: (index * step % 30, index * step % 17)
    assert not any(bed for _, bed in play(PresenceFilter(), room, range(3 * FPS), BED))


@pytest.mark.parametrize("noise", [0.0, 12.0, 25.0])
def test_furniture_stays_hidden_in_the_dark(room: Room, noise: float) -> None:
    room.noise = noise
    room.gain = lambda index: 0.3
    assert not any(bed for _, bed in play(PresenceFilter(), room, range(3 * FPS), BED))


@pytest.mark.parametrize("step", [1, 7])
def test_furniture_stays_hidden_when_the_camera_moves_before_a_bare_wall(room: Room, step: int) -> None:
    room.plain = ((slice(None), slice(0, WIDTH // 2)),)
    room.noise = 0.5
    room.shake = lambda index: (index * step % 30, index * step % 17)
    assert not any(bed for _, bed in play(PresenceFilter(), room, range(3 * FPS), BED))


def test_furniture_that_fills_the_picture_of_a_noisy_camera_stays_hidden(room: Room) -> None:
    room.noise = 30
    full = (slice(0, HEIGHT), slice(0, WIDTH))
    kept = PresenceFilter()
    for index in range(2 * FPS):
        assert not kept.keep(matte(full), room.frame(index), index * FRAME_NS).any()


def test_what_passes_by_does_not_revive_the_bed(room: Room) -> None:
    """Somebody moves right before it: only what is well within a region counts."""
    room.sway = lambda index: index % 9
    somebody = (PERSON[0], slice(PERSON[1].start, PERSON[1].stop - 16))
    behind = (BED[0], slice(PERSON[1].stop - 8, PERSON[1].stop + 60))
    kept, sure = PresenceFilter(), matte(somebody, behind)
    for index in range(2 * FPS):
        shown = kept.keep(sure, room.frame(index), index * FRAME_NS)
        assert not (shown & matte(behind)).any()
    np.testing.assert_array_equal(shown, matte(somebody))


def test_a_matte_of_another_size_knows_who_was_there(room: Room, faces: FakeFaces) -> None:
    faces.face_xy = (140, 160)
    kept = PresenceFilter()
    assert all(person for person, _ in play(kept, room, range(FPS), PERSON))
    faces.face_xy = None
    legs = (slice(260, 360), PERSON[1])
    other = matte(legs, BED, shape=(HEIGHT // 2, WIDTH // 5))
    shown = kept.keep(other, room.frame(FPS), FPS * FRAME_NS)
    np.testing.assert_array_equal(shown, matte(legs, shape=other.shape))


def test_after_a_cut_and_when_time_goes_back_nobody_is_known(room: Room, faces: FakeFaces) -> None:
    faces.face_xy = (140, 160)
    kept = PresenceFilter()
    for forget in (kept.reset, lambda: None):
        assert all(person for person, _ in play(kept, room, range(FPS, 2 * FPS), PERSON))
        faces.face_xy = None
        forget()
        assert not any(person for person, _ in play(kept, room, range(9), PERSON))
        faces.face_xy = (140, 160)


def test_a_cut_is_no_movement(room: Room) -> None:
    kept = PresenceFilter()
    list(play(kept, room, range(FPS), PERSON))
    kept.reset()
    room.sway = lambda index: 20
    assert not any(person for person, _ in play(kept, room, range(FPS, 2 * FPS), PERSON))


def test_two_looks_at_the_same_frame_say_the_same(room: Room, faces: FakeFaces) -> None:
    faces.face_xy = (140, 160)
    kept, frame, sure = PresenceFilter(), room.frame(0), matte(PERSON, BED)
    before = sure.copy()
    first = kept.keep(sure, frame, 0)
    np.testing.assert_array_equal(kept.keep(sure, frame, 0), first)
    np.testing.assert_array_equal(sure, before)
    np.testing.assert_array_equal(first, matte(PERSON))
    assert faces.asked == 2


def test_who_moves_or_was_just_seen_is_not_searched_for_a_face(room: Room, faces: FakeFaces) -> None:
    faces.face_xy = (140, 160)
    room.sway = lambda index: index // 4 % 8
    kept = PresenceFilter()
    list(play(kept, room, range(10 * FPS), PERSON))
    assert faces.asked <= 2


def test_when_faces_cannot_be_found_there_is_no_matte(room: Room, faces: FakeFaces) -> None:
    faces.error = ModelError("out of memory")
    with pytest.raises(MatteError, match="whether somebody is there cannot be told: out of memory"):
        PresenceFilter().keep(matte(BED), room.frame(0), 0)


def test_tiny_regions_are_nobody_and_an_empty_matte_is_fine(room: Room, faces: FakeFaces) -> None:
    kept = PresenceFilter()
    assert not kept.keep(matte(), room.frame(0), 0).any()
    tiny = (slice(40, 52), slice(40, 52))
    faces.face_xy = (44, 44)
    assert not kept.keep(matte(tiny), room.frame(9), 9 * FRAME_NS).any()
    assert faces.asked == 0
