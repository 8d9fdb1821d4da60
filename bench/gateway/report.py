#!/usr/bin/env python3
"""Turns the measurements of run.sh into a table, the figures that are aimed at, and one JSON document."""

import argparse
import json
import statistics
import sys

TARGETS = ("upstream", "nginx", "onrecord")
SYNC_ALLOWANCE_US = 200
FIRST_TOKEN_US = 200
RATIOS = {64: 0.55, 256: 0.85}
IDLE_MB = 80
LOADED_MB = 256
# Memory counts as flat if the last quarter of the calls needs no more than the second one, give or take this much.
FLAT = 0.10
# Load average per core before the run from which the results are not to be trusted.
BUSY = 0.4


def read(path):
    kinds = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            kinds.setdefault(entry.pop("kind"), []).append(entry)
    return kinds


def cells(loads, clock_ticks):
    """One row for each mode, number of connections and target: rounds added up, percentiles as the rounds' median."""
    rounds = {}
    for load in loads:
        rounds.setdefault((load["mode"], load["connections"], load["target"]), []).append(load)
    rows = []
    for (mode, connections, target), group in rounds.items():
        requests = sum(r["requests"] for r in group)
        rows.append({
            "mode": mode,
            "connections": connections,
            "target": target,
            "requests": requests,
            "requests_per_second": requests / sum(r["seconds"] for r in group),
            "p50_us": statistics.median(r["p50_us"] for r in group),
            "p99_us": statistics.median(r["p99_us"] for r in group),
            "cpu_us_per_call": sum(r["cpu_ticks"] for r in group) / clock_ticks / max(requests, 1) * 1e6,
            "peak_mb": max(r["peak_kb"] for r in group) / 1024,
        })
    nginx = {(r["mode"], r["connections"]): r for r in rows if r["target"] == "nginx"}
    for row in rows:
        base = nginx.get((row["mode"], row["connections"]))
        row["ratio_to_nginx"] = row["requests_per_second"] / base["requests_per_second"] if base else None
    return rows


def print_cells(rows):
    print(f"{'answers':8} {'conns':>5}  {'target':10} {'requests/s':>11} {'× nginx':>8} {'p50 µs':>9} {'p99 µs':>9} "
          f"{'CPU µs/call':>12} {'RSS MB':>7}")
    previous = None
    for row in rows:
        place = (row["mode"], row["connections"])
        if previous not in (None, place):
            print()
        mode, connections = place if place != previous else ("", "")
        previous = place
        print(f"{mode:8} {connections:>5}  {row['target']:10} {row['requests_per_second']:>11,.0f} "
              f"{row['ratio_to_nginx']:>8.2f} {row['p50_us']:>9,.0f} {row['p99_us']:>9,.0f} "
              f"{row['cpu_us_per_call']:>12,.1f} {row['peak_mb']:>7,.1f}")


def print_first_token(measured):
    print("\nTime to the first token, without the time that the upstream held the call")
    for entry in measured:
        base = entry["targets"]["upstream"]["p50_us"]
        for name in (name for name in TARGETS if name in entry["targets"]):
            times = entry["targets"][name]
            print(f"  upstream waits {entry['think_ms']:>2} ms  {name:10} p50 {times['p50_us']:>7,.0f} µs  "
                  f"p99 {times['p99_us']:>7,.0f} µs  added {times['p50_us'] - base:>7,.0f} µs")


def print_disk(disk):
    print(f"\nfdatasync after {disk['bytes']} bytes: p50 {disk['overwrite']['p50_us']:,.0f} µs into written space, "
          f"{disk['append']['p50_us']:,.0f} µs into space that is only allocated")


def figure(name, value, limit, unit, at_most=True):
    met = value <= limit if at_most else value >= limit
    return {"figure": name, "value": round(value, 3), "limit": limit, "at_most": at_most, "unit": unit, "met": met}


def speed_figures(rows, disk):
    table = {(r["mode"], r["connections"], r["target"]): r for r in rows}
    for (mode, connections, target), row in table.items():
        if target != "onrecord":
            continue
        if connections in RATIOS:
            name = f"{mode}, {connections} connections: requests/s to nginx"
            yield figure(name, row["ratio_to_nginx"], RATIOS[connections], "×", at_most=False)
        if connections == 1 and mode == "whole":
            added = row["p50_us"] - table[mode, 1, "upstream"]["p50_us"]
            limit = round(disk["overwrite"]["p50_us"]) + SYNC_ALLOWANCE_US
            yield figure(f"1 connection: added median (one fdatasync + {SYNC_ALLOWANCE_US} µs)", added, limit, "µs")


def first_token_figures(measured):
    for entry in measured:
        if entry["think_ms"] > 0 and "onrecord" in entry["targets"]:
            targets = entry["targets"]
            added = targets["onrecord"]["p50_us"] - targets["upstream"]["p50_us"]
            yield figure("added time to the first token", added, FIRST_TOKEN_US, "µs")


def memory_figures(idle, memory, rows):
    if idle:
        yield figure("resident memory, idle", idle[0]["kb"] / 1024, IDLE_MB, "MB")
    loaded = [m["kb"] / 1024 for m in memory]
    loaded += [r["peak_mb"] for r in rows if r["target"] == "onrecord" and r["connections"] == 64]
    if loaded:
        yield figure("resident memory, 64 connections", max(loaded), LOADED_MB, "MB")
    if memory:
        total = memory[-1]["calls"]
        second = [m["kb"] for m in memory if total / 4 < m["calls"] <= total / 2]
        last = [m["kb"] for m in memory if m["calls"] > total * 3 / 4]
        if second and last:
            growth = max(last) / max(second) - 1
            name = f"resident memory over {total:,} calls: last quarter to second"
            yield figure(name, growth * 100, FLAT * 100, "%")


def print_figures(figures, busy):
    if not figures:
        return
    print("\nFigures" + (", which do not count: the machine was busy" if busy else ""))
    for f in figures:
        relation = "at most" if f["at_most"] else "at least"
        print(f"  {'met   ' if f['met'] else 'MISSED'}  {f['figure']}: {f['value']:,.4g} {f['unit']} "
              f"({relation} {f['limit']:,.4g})")


def print_memory(idle, memory):
    for entry in idle:
        anonymous = entry["anonymous_kb"] / 1024
        print(f"\nResident memory, idle: {entry['kb'] / 1024:,.0f} MB, of which {anonymous:,.0f} MB its own and the "
              "rest pages of the program's file")
    if memory:
        step = max(len(memory) // 8, 1)
        series = [memory[i] for i in range(step - 1, len(memory), step)]
        print("Resident memory at 64 connections: "
              + ", ".join(f"{m['calls']:,} calls {m['kb'] / 1024:,.0f} MB" for m in series))


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("results")
    arguments.add_argument("--json", help="write everything to this file")
    arguments.add_argument("--check", action="store_true", help="exit with 1 if a figure is missed")
    arguments = arguments.parse_args()

    kinds = read(arguments.results)
    machine = kinds["machine"][0]
    machine["busy"] = machine["load_before"] > BUSY * machine["cores"]
    disk = min(kinds["fdatasync"], key=lambda measured: measured["overwrite"]["p50_us"])
    idle, memory, first_token = (kinds.get(kind, []) for kind in ("idle", "memory", "first_token"))
    rows = cells(kinds["load"], machine["clock_ticks"])
    figures = [*speed_figures(rows, disk), *first_token_figures(first_token), *memory_figures(idle, memory, rows)]

    versions = ", ".join(v for v in (machine["onrecord"], machine["nginx"], machine["wrk"]) if v)
    print(f"{machine['date']}  {machine['cores']} cores, {machine['cpu']}, {machine['filesystem']}; {versions}")
    print(f"{machine['rounds']} round(s) of {machine['seconds_a_round']} s; servers, upstream and wrk share the cores")
    if machine["busy"]:
        print(f"THE MACHINE WAS BUSY before the run (load {machine['load_before']}): measure again when it is idle")
    print()
    print_cells(rows)
    print_disk(disk)
    print_first_token(first_token)
    print_memory(idle, memory)
    print_figures(figures, machine["busy"])
    if arguments.json:
        document = {"machine": machine, "fdatasync": disk, "cells": rows, "first_token": first_token,
                    "idle": idle, "memory": memory, "figures": figures}
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)
            file.write("\n")
    if arguments.check and not all(f["met"] for f in figures):
        sys.exit(1)


if __name__ == "__main__":
    main()
