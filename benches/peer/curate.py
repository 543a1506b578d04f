"""MetaCLIP's curation in Python with the pyahocorasick package, beside `twinflame data curate`.

    pip install pyahocorasick
    python curate.py captions.txt queries.txt --cap 20000 -o kept.txt

Does what the command does: two passes over a file with a caption on each line, whole-word matches of all queries, a draw for each. Prints
CPU seconds of each part and the peak of memory.
"""

import argparse
import random
import resource
import time

import ahocorasick

SPACED = str.maketrans({sign: f" {sign} " for sign in ",.;:?!`"} | {sign: " " for sign in "\t\n\r"})


def matches(automaton, line):
    return {number for _, number in automaton.iter(f" {line.translate(SPACED)} ")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captions")
    parser.add_argument("queries")
    parser.add_argument("--cap", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", required=True)
    args = parser.parse_args()

    begin = time.process_time()
    automaton = ahocorasick.Automaton()
    with open(args.queries, encoding="utf-8") as lines:
        queries = [line.strip() for line in lines]
    for number, query in enumerate(queries):
        automaton.add_word(f" {query} ", number)
    automaton.make_automaton()
    built = time.process_time()

    counts, pairs = [0] * len(queries), 0
    with open(args.captions, encoding="utf-8") as lines:
        for line in lines:
            pairs += 1
            for number in matches(automaton, line.rstrip("\n")):
                counts[number] += 1
    counted = time.process_time()

    rng, kept = random.Random(args.seed), 0
    with open(args.captions, encoding="utf-8") as lines, open(args.output, "w", encoding="utf-8") as output:
        for line in lines:
            found = matches(automaton, line.rstrip("\n"))
            if any(rng.random() < args.cap / max(counts[number], args.cap) for number in found):
                kept += 1
                output.write(line)
    done = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"pairs {pairs}, matches {sum(counts)}, kept {kept}")
    print(f"CPU s: automaton {built - begin:.1f}, counting {counted - built:.1f}, keeping {done - counted:.1f}")
    print(f"captions per CPU second and pass: {2 * pairs / (done - built):.0f}; peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
