"""`python -m study.export_onnx OUT`: export a study's winner as best/model.onnx, for programs without PyTorch.

The input `views` is float32 (n, 3, size, size) for any n, preprocessed as preprocessing.json describes. The output
`logits` is (n, classes). The file's metadata contain the labels, the preprocessing and the temperature. Before the file
gets its name, ONNX Runtime runs it on images of the study and must reproduce the winner's logits. Exit status: 0 done,
1 the net cannot be exported (one line, no file), 2 bad input.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.arguments import Parser, fail
from study.results import BEST_FOLDER
from study.writing import in_shell
from trainables.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ExportFlags:
    """The command line of `study.export_onnx`."""

    out: Path


def main(arguments: list[str]) -> int:
    """Run the command line and return its exit status."""
    try:
        out = parse(arguments).out
        from study.products.best import ONNX_FILE, load_best
        from study.products.to_onnx import OPSET, NotExported, export_onnx

        best = load_best(out)
        try:
            difference = export_onnx(best, out)
        except NotExported as problem:
            record(out, {"refused": str(problem)})
            print(f"The winner cannot be exported: {problem}.", file=sys.stderr)
            return 1
    except InputError as problem:
        return fail(problem)
    record(out, {"opset": OPSET, "largest_difference": difference})
    print(f"{out / BEST_FOLDER / ONNX_FILE}: opset {OPSET}, logits within {difference:.1e} of the winner's.")
    return 0


def parse(arguments: list[str]) -> ExportFlags:
    """Parse the flags.

    Raises:
        InputError: a flag is unknown, or OUT is missing.
    """
    parser = Parser(prog="python -m study.export_onnx", description=__doc__, allow_abbrev=False)
    parser.add_argument("out", type=Path, metavar="OUT", help="the --out of a finished study")
    return ExportFlags(**vars(parser.parse_args(arguments)))


def record(out: Path, outcome: dict[str, Any]) -> None:
    """Add the outcome of the export to proof.json."""
    from study.products.best import PROOF_FILE
    from study.writing import write_json

    file = out / BEST_FOLDER / PROOF_FILE
    proof = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    write_json(proof | {"onnx": outcome}, file)


def console() -> None:
    """Run this command on the arguments of the process, and exit with its status."""
    sys.exit(in_shell(main))


if __name__ == "__main__":
    console()
