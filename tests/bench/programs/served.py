"""A program that stays while it is measured again and again: told what to do by files of a folder, which a guest shares with its host.

`N.ask` holds a name and seconds; the answer is `N.answer`, a JSON object. An ask without a name ends the program. The other side is
tests/bench/running.py.
"""
import argparse
import json
import pathlib
import time

PAUSE = 0.005


def once(made, apps, name, seconds):
    """Figures of an app, which is made when it is first asked for."""
    try:
        if name not in made:
            begin = time.perf_counter()
            made[name] = apps[name]()
            return {f"made {name}, s": time.perf_counter() - begin} | made[name](seconds)
        return made[name](seconds)
    except Exception as error:  # One app's failure is not another's.
        return {f"failed: {name}": f"{type(error).__name__}: {error}"[:300]}


def serve(folder, apps, first):
    """Answers until an ask without a name. The first answer, without an ask, is `first`'s."""
    folder, made, number, answer = pathlib.Path(folder), {}, 0, first()
    while True:
        written = folder / f"{number}.writing"
        written.write_text(json.dumps(answer))
        written.rename(folder / f"{number}.answer")
        number += 1
        ask = folder / f"{number}.ask"
        while not ask.exists():
            time.sleep(PAUSE)
        words = ask.read_text().split()
        if not words:
            return
        answer = once(made, apps, words[0], float(words[1]))


def main(description, apps, first=dict):
    """`apps`: by name a function that prepares and returns a function of seconds that measures."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--serve", metavar="FOLDER", help="instead of names: see served.py")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(apps))
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, apps, first)
        return
    print(json.dumps(first()), flush=True)
    for name in options.names:
        print(json.dumps(once({}, apps, name, options.seconds)), flush=True)
