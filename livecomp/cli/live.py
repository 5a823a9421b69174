"""Commands for calls: run, preview, ctl, config."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from livecomp.cli.common import (
    ColorStrength,
    ComputeOption,
    Defocus,
    Down,
    Fit,
    Model,
    Right,
    ShadingStrength,
    Size,
    Strength,
    app,
    say,
    stderr,
    stdout,
)
from livecomp.errors import ConfigError

__all__: list[str] = []

Scene = Annotated[
    str | None,
    typer.Option("--background", "-b", help="A picture, a video, a colour such as '#204060', 'blur', or 'demo'."),
]
Camera = Annotated[
    str | None,
    typer.Option("--camera", "-i", help="Number, path, name or stable id; or a video to play in its place."),
]
Device = Annotated[str | None, typer.Option("--device", "-o", help="Path or label of the virtual camera, or pipewire.")]
Width = Annotated[int | None, typer.Option("--width", "-W", help="Width of what the call sees, pixels.")]
Height = Annotated[int | None, typer.Option("--height", "-H", help="Height of what the call sees, pixels.")]
Rate = Annotated[float | None, typer.Option("--fps", help="Frames per second.")]
Segmenter = Annotated[str | None, typer.Option(help="Matte: both, general, landscape, rvm, mediapipe or chroma.")]
Backend = Annotated[str | None, typer.Option(help="What runs the networks: auto, onnxruntime, openvino, ...")]
KeyColor = Annotated[str | None, typer.Option(help="The screen's colour for --segmenter chroma, '#rrggbb'.")]
Wrap = Annotated[
    float | None, typer.Option(min=0, max=1, help="How much of the scene's light bleeds over the person's edge.")
]
SlatePicture = Annotated[Path | None, typer.Option("--slate", help="Picture for when the scene cannot be shown.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Options as TOML, see `livecomp config`; edits act at once.")
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Of the preview page; 0 takes a free one.")]
Socket = Annotated[Path | None, typer.Option("--socket", help="Of `livecomp ctl`, when there are several calls.")]
Root = Annotated[Path, typer.Option("--root", hidden=True, help="Where dev, sys and proc are.")]


@app.command()
def run(
    background: Scene = None,
    camera: Camera = None,
    device: Device = None,
    width: Width = None,
    height: Height = None,
    fps: Rate = None,
    model: Model = None,
    segmenter: Segmenter = None,
    strength: Strength = None,
    color_strength: ColorStrength = None,
    shading_strength: ShadingStrength = None,
    fit: Annotated[Fit | None, typer.Option(help="How a background of another shape fills the picture.")] = None,
    defocus: Defocus = None,
    size: Size = None,
    right: Right = None,
    down: Down = None,
    light_wrap: Wrap = None,
    backend: Backend = None,
    compute: ComputeOption = None,
    key_color: KeyColor = None,
    slate: SlatePicture = None,
    ondemand: Annotated[
        bool | None, typer.Option("--ondemand/--no-ondemand", help="Sleep while nobody watches the virtual camera.")
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Also show the picture on a page of this machine.")
    ] = False,
    port: Port = 0,
    config: ConfigFile = None,
    socket: Socket = None,
    root: Root = Path("/"),
) -> None:
    """Be in another scene in a call: the webcam goes in, and programs see you in the scene as the camera "LiveComp".

    The room is never shown. While a frame has no valid matte, and while there is no camera, a slate is.
    Everything but sizes and devices can change while it runs: `livecomp ctl --help`. Ctrl-C ends it, and so
    does closing the terminal.
    """
    given = _options(
        background=background,
        camera=camera,
        device=device,
        width=width,
        height=height,
        fps=fps,
        model=model,
        segmenter=segmenter,
        color_strength=strength if color_strength is None else color_strength,
        shading_strength=strength if shading_strength is None else shading_strength,
        fit=fit,
        defocus=defocus,
        size=size,
        right=right,
        down=down,
        light_wrap=light_wrap,
        backend=backend,
        compute=compute,
        key_color=key_color,
        slate=slate,
        ondemand=ondemand,
    )
    _run(given, file=config, preview=preview, port=port, socket=socket, root=root)


@app.command()
def preview(
    background: Scene = None,
    camera: Camera = None,
    width: Width = None,
    height: Height = None,
    fps: Rate = None,
    model: Model = None,
    segmenter: Segmenter = None,
    strength: Strength = None,
    backend: Backend = None,
    compute: ComputeOption = None,
    key_color: KeyColor = None,
    port: Port = 0,
    config: ConfigFile = None,
    socket: Socket = None,
) -> None:
    """See yourself in the scene on a page of this machine, with figures and sliders; no virtual camera is needed."""
    given = _options(
        background=background,
        camera=camera,
        width=width,
        height=height,
        fps=fps,
        model=model,
        segmenter=segmenter,
        color_strength=strength,
        shading_strength=strength,
        backend=backend,
        compute=compute,
        key_color=key_color,
    )
    _run(given, file=config, virtual_camera=False, preview=True, port=port, socket=socket)


_KEYS = {
    "background": ("background.source",),
    "fit": ("background.fit",),
    "defocus": ("background.defocus",),
    "size": ("person.size",),
    "right": ("person.right",),
    "down": ("person.down",),
    "model": ("harmonize.model",),
    "segmenter": ("segment.model",),
    "backend": ("segment.backend", "harmonize.backend"),
    "compute": ("compute",),
    "key_color": ("segment.key_color",),
    "color_strength": ("composite.color_strength",),
    "shading_strength": ("composite.shading_strength",),
    "light_wrap": ("composite.light_wrap",),
}


def _options(**given: object) -> dict[str, Any]:
    """Dotted keys for the options that were given."""
    values = {name: value for name, value in given.items() if value is not None}
    return {key: value for name, value in values.items() for key in _KEYS.get(name, (f"live.{name}",))}


def _run(given: Mapping[str, Any], **how: Any) -> None:  # noqa: ANN401  fields of CallOptions
    from livecomp.control.call import CallOptions, run_call
    from livecomp.control.steering import Steering

    options = CallOptions(given, **how)
    calls: list[Steering] = []
    with _status_line() as show:

        def started(steering: Steering, address: str) -> None:
            calls.append(steering)
            target = f" to {steering.status()['device']}" if options.virtual_camera else ""
            say(f"the call runs{target}; Ctrl-C ends it")
            if address:
                say("the page is for this machine alone, and its address is a secret:")
                # where both are the terminal, its status line makes room for one of them alone
                console = stderr if stdout.is_terminal and stderr.is_terminal else stdout
                console.print(address, highlight=False, soft_wrap=True)

        run_call(options, started=started, tick=lambda steering: show(steering.status()))
    for call in calls:
        status = call.status()
        say(f"ended: {status['shown']} pictures, {status['slates']} slates, {status['dropped']} frames dropped")


@contextmanager
def _status_line() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A line that is kept up to date on a terminal, while there is one; elsewhere a line for every change of state."""
    if stderr.is_terminal:
        line = Live(Text("loading ..."), console=stderr, transient=True, auto_refresh=False)
        line.start()
        try:
            yield lambda status: _update(line, status)
        finally:
            with suppress(OSError):
                line.stop()
        return
    seen = ""

    def show(status: Mapping[str, Any]) -> None:
        nonlocal seen
        state = ": ".join(part for part in (status["state"], status["detail"]) if part)
        if state != seen:
            say(state)
            seen = state

    yield show


def _update(line: Live, status: Mapping[str, Any]) -> None:
    with suppress(OSError):
        line.update(Text(_sentence(status), overflow="ellipsis", no_wrap=True), refresh=True)


def _sentence(status: Mapping[str, Any]) -> str:
    parts = [status["state"]]
    if status["fps"]:
        p50, p95 = status["latency_ms"]
        parts.append(f"{status['fps']:.0f} fps, {p50:.0f} ms after the camera (95 %: {p95:.0f} ms)")
    parts += [part for part in (status["detail"], status["camera"], f"in {status['background']}") if part]
    if status["step"] != "full":
        parts.append(f"cost: {status['step']}")
    return " · ".join(parts)


@app.command()
def config(
    path: Annotated[bool, typer.Option("--path", help="Print where the file is looked for instead.")] = False,
) -> None:
    """Print a configuration file with every option, its meaning and its default."""
    from livecomp.control.call import default_config_file
    from livecomp.control.options import sample_toml

    typer.echo(default_config_file() if path else sample_toml(), nl=path)


ctl_app = typer.Typer(help="Change a call while it runs.", no_args_is_help=True)
app.add_typer(ctl_app, name="ctl")


@ctl_app.callback()
def _ctl(context: typer.Context, socket: Socket = None) -> None:
    context.obj = socket


def _ask(context: typer.Context, request: dict[str, Any]) -> dict[str, Any]:
    from livecomp.control.client import command

    return command(request, context.obj)


def _set(context: typer.Context, values: Mapping[str, object]) -> None:
    _ask(context, {"do": "set", "values": dict(values)})


@ctl_app.command()
def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """What the call does now, its rate, its delay, and what each stage costs."""
    found = _ask(context, {"do": "status"})["status"]
    if as_json:
        typer.echo(json.dumps(found))
        return
    width, height = found["size_wh"]
    p50, p95 = found["latency_ms"]
    facts = {
        "state": ": ".join(part for part in (found["state"], found["detail"]) if part),
        "camera": found["camera"],
        "virtual camera": f"{found['device']}, {width}x{height}",
        "background": found["background"],
        "rate": f"{found['fps']:.1f} fps",
        "camera to output": f"{p50:.1f} ms, 95 % within {p95:.1f} ms",
        "frames": f"{found['captured']} captured, {found['shown']} shown, {found['dropped']} dropped, "
        f"{found['missed']} without a valid matte; {found['slates']} slates",
        "cost": found["step"],
    }
    for name, fact in facts.items():
        stdout.print(f"{name}: {fact}", highlight=False, soft_wrap=True)
    table = Table("stage", box=None, pad_edge=False)
    for heading in ("p50 ms", "p95 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for stage in found["stages"]:
        table.add_row(stage["stage"], *(f"{stage[key]:.2f}" for key in ("p50_ms", "p95_ms", "p99_ms")))
    stdout.print(table)


@ctl_app.command("background")
def ctl_background(
    context: typer.Context,
    background: Annotated[str, typer.Argument(help="A picture, a video, a colour such as '#204060', 'blur', 'demo'.")],
) -> None:
    """Another scene, which fades in."""
    from livecomp.control.options import absolute

    _set(context, {"background.source": absolute(background, Path.cwd())})


@ctl_app.command("strength")
def ctl_strength(
    context: typer.Context,
    color: Annotated[float, typer.Argument(min=0, max=1, help="Of the colour correction; alone, of both.")],
    shading: Annotated[float | None, typer.Argument(min=0, max=1, help="Of the shading.")] = None,
) -> None:
    """How much the person is adjusted to the scene: 0 not at all, 1 fully."""
    shading = color if shading is None else shading
    _set(context, {"composite.color_strength": color, "composite.shading_strength": shading})


@ctl_app.command("place")
def ctl_place(context: typer.Context, size: Size = None, right: Right = None, down: Down = None) -> None:
    """How large the person is in the scene, and where; what is not given stays."""
    values = {"person.size": size, "person.right": right, "person.down": down}
    given = {key: value for key, value in values.items() if value is not None}
    if not given:
        raise ConfigError("expected one of --size, --right and --down, as in --size 0.7 --right 0.2")
    _set(context, given)


@ctl_app.command("wrap")
def ctl_wrap(context: typer.Context, amount: Annotated[float, typer.Argument(min=0, max=1)]) -> None:
    """How much of the scene's light bleeds over the person's edge."""
    _set(context, {"composite.light_wrap": amount})


@ctl_app.command("segmenter")
def ctl_segmenter(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="both, general, landscape, rvm, mediapipe or chroma.")],
) -> None:
    """Another way to cut the person out."""
    _set(context, {"segment.model": name})


@ctl_app.command("set")
def ctl_set(
    context: typer.Context,
    options: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="As in smooth.filter=none.")],
) -> None:
    """Change any option of `livecomp config`; several at once are changed together."""
    from livecomp.control.options import full_paths, parse_value

    values: dict[str, object] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals:
            raise ConfigError(f"expected KEY=VALUE, as in composite.light_wrap=0.5; received {option!r}")
        values[key] = parse_value(text)
    _set(context, full_paths(values, Path.cwd()))


@ctl_app.command("config")
def ctl_config(context: typer.Context) -> None:
    """The options that are in effect, as JSON."""
    typer.echo(json.dumps(_ask(context, {"do": "config"})["config"], indent=2))


@ctl_app.command("resume")
def ctl_resume(context: typer.Context) -> None:
    """Go on after freeze, slate or pause."""
    _ask(context, {"do": "act", "action": "resume"})


@ctl_app.command("freeze")
def ctl_freeze(context: typer.Context) -> None:
    """Hold the picture."""
    _ask(context, {"do": "act", "action": "freeze"})


@ctl_app.command("slate")
def ctl_slate(context: typer.Context) -> None:
    """Show the slate; the camera stays on."""
    _ask(context, {"do": "act", "action": "slate"})


@ctl_app.command("pause")
def ctl_pause(context: typer.Context) -> None:
    """Show the slate and release the camera."""
    _ask(context, {"do": "act", "action": "pause"})


@ctl_app.command("stop")
def ctl_stop(context: typer.Context) -> None:
    """End the call."""
    _ask(context, {"do": "stop"})
