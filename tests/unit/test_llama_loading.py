"""Every model that llama.cpp loads is loaded by one function, which turns extra buffer types off.

On a CPU with AMX an engine loaded otherwise may die at its first product. Where there is no AMX this stands in for it.
"""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import tiny_gguf

from models.evaluate import Reader
from oracle.engines import llama_native
from oracle.engines.llama import LlamaEngine
from oracle.engines.llama_settings import LlamaSettings
from oracle.engines.llama_vocabulary import Vocabulary
from oracle.engines.remote import RemoteEngine
from oracle.errors import BadModelFile
from oracle.models.files import ModelFile

ROOT = Path(__file__).resolve().parents[2]
PACKAGE, BINDINGS = "llama_cpp", "llama_cpp.llama_cpp"
ONE_PLACE = ("oracle/engines/llama_native.py", "load")
BY_NAME = {"import_module", "__import__", "getattr"}
OTHER_IMPORTS = {"bench/exact_together.py", "bench/llama_check.py"}
"""Files that use the bindings and load nothing with them."""


def sources() -> list[str]:
    """Python files of this project, as git has them or would."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\n")
    return [name for name in listed if name and (ROOT / name).exists()]


def loads(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(function it stands in, what it says) for all in a file by which a model may be loaded through llama.cpp."""

    def walk(node: ast.AST, function: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        said = _load(node)
        if said is not None:
            yield function, said
        for child in ast.iter_child_nodes(node):
            yield from walk(child, function)

    return walk(tree, "")


def _load(node: ast.AST) -> str | None:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name) | ast.alias(name=name) if _is_loader(name):
            return name
        case ast.ImportFrom(module=module) if module is not None and _is_package(module) and module != PACKAGE:
            return module
        case ast.ImportFrom(module="llama_cpp", names=names) if [each.name for each in names] != ["llama_cpp"]:
            return PACKAGE
        case ast.Import(names=names) if any(_is_package(each.name) and each.name != BINDINGS for each in names):
            return names[0].name
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=arguments) if name in BY_NAME:
            for argument in arguments:
                text = argument.value if isinstance(argument, ast.Constant) else None
                if isinstance(text, str) and (_is_package(text) or _is_loader(text)):
                    return text
    return None


def _is_loader(name: str) -> bool:
    return name == "llama_model_default_params" or (name.startswith("llama_") and "load" in name and "model" in name)


def _is_package(module: str) -> bool:
    return module == PACKAGE or module.startswith(f"{PACKAGE}.")


def test_sources__loading_a_model_through_llama_cpp__one_function_alone():
    found = {}
    for name in sources():
        if name != Path(__file__).relative_to(ROOT).as_posix():
            tree = ast.parse((ROOT / name).read_text())
            for function, said in loads(tree):
                found.setdefault((name, function), set()).add(said)
    assert found == {ONE_PLACE: {"llama_model_default_params", "llama_model_load_from_file"}}


def test_sources__importing_the_bindings__are_these():
    users = set()
    for name in sources():
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, ast.Import) and any(_is_package(each.name) for each in node.names):
                users.add(name)
    assert users == {ONE_PLACE[0], *OTHER_IMPORTS}


@pytest.mark.parametrize(
    "source",
    [
        "from llama_cpp import Llama",
        "import llama_cpp",
        "import llama_cpp as anything",
        "from llama_cpp.llama_cpp import llama_model_load_from_file as innocent",
        "from llama_cpp import llama",
        "api.llama_load_model_from_file(b'', p)",
        "api.llama_model_load_from_splits(a, 1, p)",
        "importlib.import_module('llama_cpp')",
        "getattr(api, 'llama_model_load_from_file')(b'', p)",
    ],
)
def test_sources__a_way_to_load_a_model__is_seen(source):
    assert list(loads(ast.parse(source)))


@pytest.fixture
def loaded(monkeypatch) -> list[bool]:
    """`use_extra_bufts` of each model that llama.cpp is told to load."""
    seen: list[bool] = []
    true = llama_native.api.llama_model_load_from_file

    def load(path, params):
        seen.append(params.use_extra_bufts)
        return true(path, params)

    monkeypatch.setattr(llama_native.api, "llama_model_load_from_file", load)
    return seen


def test_load__engine_vocabulary_and_evaluation__without_extra_buffer_types(loaded, tmp_path):
    """llama.cpp's default is to use them, so the setting must be made each time."""
    assert llama_native.api.llama_model_default_params().use_extra_bufts
    path = tmp_path / "tiny.gguf"
    manifest = tiny_gguf.write(path)
    LlamaEngine(ModelFile.of(manifest, path), manifest, 0, LlamaSettings(threads=1))
    Vocabulary(path)
    Reader(path, manifest.prefix_tokens, manifest.suffix_tokens, manifest.stop_tokens)
    assert loaded == [False, False, False]


@pytest.mark.parametrize("kind", ["bert", "t5", "rwkv", "plamo2", "no_vocab", "none", "gemma4", None])
def test_load__tokenizer_of_another_kind__is_refused_by_name_before_llama_cpp_sees_it(loaded, tmp_path, kind):
    """With "bert", "no_vocab" and "none" llama.cpp aborts the process."""
    path = tmp_path / "tiny.gguf"
    manifest = tiny_gguf.write(path, tokenizer=kind)
    for load in (
        lambda: Vocabulary(path),
        lambda: LlamaEngine(ModelFile.of(manifest, path), manifest, 0, LlamaSettings(threads=1)),
        lambda: RemoteEngine(ModelFile.of(manifest, path), manifest, 0, LlamaSettings(threads=1), lambda *_: None),
        lambda: Reader(path, (), (), ()),
    ):
        with pytest.raises(BadModelFile, match=f"tokenizers of kind {kind!r} are not served"):
            load()
    assert loaded == []
