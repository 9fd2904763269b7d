"""Injects a fault into a member of the cluster, and undoes it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time

import psutil

from tests.faults.nemesis.cluster import Cluster
from tests.faults.nemesis.history import Window
from tests.faults.nemesis.schedule import Fault, Harm

WELL_AGAIN_S = 60.0
_RESTART_S = 30.0


async def harm(cluster: Cluster, fault: Fault) -> Window:
    """Injects the fault, undoes it, and returns when the member is ready again."""
    start_s = time.monotonic()
    member = cluster.members[fault.member]
    match fault.harm:
        case Harm.KILL:
            await _kill(cluster, fault, everything=not member.children())
        case Harm.KILL_ALL:
            await _kill(cluster, fault, everything=True)
        case Harm.RESTART:
            await _restart(cluster, fault)
        case Harm.KILL_CHILD | Harm.STOP_CHILD:
            await _harm_child(cluster, fault)
        case Harm.STOP:
            member.signal_all(signal.SIGSTOP)
            try:
                await asyncio.sleep(fault.length_s)
            finally:
                member.signal_all(signal.SIGCONT)
        case Harm.CUT | Harm.SILENCE:
            await _part(cluster, fault)
    await well_again(cluster, fault.member)
    return Window(fault.member, str(fault.harm), start_s, time.monotonic())


async def _kill(cluster: Cluster, fault: Fault, *, everything: bool) -> None:
    """SIGKILL. A server's own children, such as RabbitMQ's, go with it."""
    member = cluster.members[fault.member]
    member.down = True
    try:
        if everything or not fault.member.startswith("worker"):
            member.signal_all(signal.SIGKILL)
        else:
            member.signal(signal.SIGKILL)
        await asyncio.sleep(fault.length_s)
    finally:
        member.down = False


async def _restart(cluster: Cluster, fault: Fault) -> None:
    """Sends SIGTERM, and kills the member if it does not end in time."""
    member = cluster.members[fault.member]
    member.down = True
    try:
        member.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RESTART_S):
                while member.runs:
                    await asyncio.sleep(0.05)
        await asyncio.sleep(fault.length_s)
    finally:
        member.signal_all(signal.SIGKILL)
        member.down = False


async def _harm_child(cluster: Cluster, fault: Fault) -> None:
    """Harms a pool child; does nothing if the pool has no children."""
    children = cluster.members[fault.member].children()
    if not children:
        return
    child = random.Random(fault.at_s).choice(children)  # noqa: S311 - to be repeated
    with contextlib.suppress(psutil.NoSuchProcess):
        if fault.harm is Harm.KILL_CHILD:
            child.kill()
            return
        child.suspend()
        try:
            await asyncio.sleep(fault.length_s)
        finally:
            child.resume()


async def _part(cluster: Cluster, fault: Fault) -> None:
    link = cluster.links[fault.member]
    (link.cut if fault.harm is Harm.CUT else link.silence)()
    try:
        await asyncio.sleep(fault.length_s)
    finally:
        link.heal()


async def well_again(cluster: Cluster, name: str) -> None:
    """Returns when the member is ready."""
    async with asyncio.timeout(WELL_AGAIN_S):
        while not cluster.members[name].ready:
            await asyncio.sleep(0.05)
