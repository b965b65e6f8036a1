"""Prompts from every source as token ids, and the lines that are none."""

import json
import re

import pytest
from tokenizers.processors import TemplateProcessing

from jaxgen.errors import UserError
from jaxgen.specs.builtin_prompts import BUILTIN
from jaxgen.specs.prompts import Builtin, Jsonl, Synthetic, Text
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.prompts import read
from support import checkpoint_folders


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return checkpoint_folders.add_tokenizer(tmp_path_factory.mktemp("model")) / "tokenizer.json"


@pytest.fixture
def codec(tokenizer):
    return Codec(tokenizer, vocab_size=270, random=False)


@pytest.fixture
def written(tmp_path):
    """Writes a file of prompts and returns its spec."""

    def write(content, kind=Jsonl):
        path = tmp_path / "prompts"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return kind(path=str(path))

    return write


def texts(prompts):
    return [prompt.text for prompt in prompts]


def refused(spec, codec):
    with pytest.raises(UserError) as caught:
        read(spec, codec)
    return str(caught.value)


class TestText:
    def test_a_prompt_keeps_its_text_and_its_tokens_say_it_again(self, codec):
        (prompt,) = read(Text(text=("héllo wörld",)), codec)
        assert prompt.text == codec.decode(prompt.tokens) == "héllo wörld"

    def test_builtin_prompts_come_in_order_and_as_many_as_asked(self, codec):
        assert texts(read(Builtin(), codec)) == list(BUILTIN)
        assert texts(read(Builtin(count=2), codec)) == list(BUILTIN[:2])

    def test_a_text_goes_before_a_file(self, written, codec):
        path = written("from the file\n", Text).path
        assert texts(read(Text(text=("from the line",), path=path), codec)) == ["from the line"]

    def test_each_line_of_a_file_is_a_prompt_and_blank_ones_are_none(self, written, codec):
        assert texts(read(written("one \n\n  \ntwo", Text), codec)) == ["one ", "two"]

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"one\r\ntwo\r\n", ["one", "two"]),
            (b"\xef\xbb\xbfone\ntwo\n", ["one", "two"]),
            ("one\u2028still one\ntwo\x0cstill two\n", ["one\u2028still one", "two\x0cstill two"]),
        ],
        ids=["windows", "byte-order mark", "other separators"],
    )
    def test_only_newlines_end_a_line(self, content, expected, written, codec):
        assert texts(read(written(content, Text), codec)) == expected


class TestJsonl:
    def test_a_line_holds_a_prompt_or_tokens(self, written, codec):
        first, second = read(written('{"prompt": "a"}\n\n{"tokens": [3, 1, 2]}\n'), codec)
        assert (first.text, first.tokens) == ("a", tuple(codec.encode("a")))
        assert (second.text, second.tokens) == (None, (3, 1, 2))

    def test_a_separator_inside_a_text_is_text(self, written, codec):
        line = json.dumps({"prompt": "a\u2028b"}, ensure_ascii=False)
        assert texts(read(written(f"{line}\n"), codec)) == ["a\u2028b"]

    @pytest.mark.parametrize(
        "line",
        [
            "hello",
            '{"prompt": 3}',
            '{"text": "a"}',
            '{"tokens": "12"}',
            '{"tokens": [1, 2.5]}',
            '{"tokens": [true]}',
            '{"prompt": "a"',
            "[1, 2]",
            "7",
            "null",
        ],
    )
    def test_another_line_is_refused_with_its_number(self, line, written, codec):
        message = refused(written(f'{{"prompt": "a"}}\n\n{line}\n'), codec)
        assert "prompts.path=" in message
        assert f'line 3 is neither {{"prompt": "..."}} nor {{"tokens": [...]}}: {line}' in message

    def test_all_bad_lines_are_named_together(self, written, codec):
        message = refused(written('one\n{"prompt": "a"}\nthree\n'), codec)
        assert "line 1 " in message
        assert "line 3 " in message
        assert "line 2 " not in message

    def test_a_long_bad_line_is_cut(self, written, codec):
        assert len(refused(written("x" * 10_000), codec)) < 400


class TestSynthetic:
    def test_the_ids_are_seeded_and_in_the_vocabulary(self, codec):
        prompts = read(Synthetic(count=50, length=40, seed=3), codec)
        assert prompts == read(Synthetic(count=50, length=40, seed=3), codec)
        assert prompts != read(Synthetic(count=50, length=40, seed=4), codec)
        ids = {token for prompt in prompts for token in prompt.tokens}
        assert {len(prompt.tokens) for prompt in prompts} == {40}
        assert min(ids) >= 0
        assert 260 < max(ids) < 270

    def test_the_ids_are_plain_numbers(self, codec):
        (prompt,) = read(Synthetic(), codec)
        assert {type(token) for token in prompt.tokens} == {int}


class TestEmpty:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "there are none"),
            ("\n \n", "there are none"),
            ('{"tokens": []}\n', "prompt 0 is empty"),
            (
                '{"prompt": "a"}\n{"prompt": ""}\n{"tokens": []}\n',
                "prompt 1 is empty; prompt 2 is empty",
            ),
        ],
    )
    def test_nothing_is_no_prompt(self, content, message, written, codec):
        assert refused(written(content), codec) == f"prompts cannot be used: {message}"

    def test_special_tokens_around_nothing_are_no_prompt_either(self, written, codec):
        codec.tokenizer.post_processor = TemplateProcessing(
            single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
        )
        assert codec.encode("") == [0]
        assert (
            refused(written('{"prompt": ""}\n'), codec)
            == "prompts cannot be used: prompt 0 is empty"
        )


class TestFiles:
    @pytest.mark.parametrize("kind", [Text, Jsonl])
    def test_a_missing_file_is_named_with_where_relative_paths_start(
        self, kind, codec, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        message = refused(kind(path="nowhere.txt"), codec)
        assert (
            message
            == f"prompts.path=nowhere.txt does not exist (relative paths start at {tmp_path})"
        )

    def test_a_folder_is_no_file(self, codec, tmp_path):
        assert f"prompts.path={tmp_path} cannot be read" in refused(Text(path=str(tmp_path)), codec)

    def test_another_encoding_is_refused(self, written, codec):
        assert "cannot be read" in refused(written("grün".encode("latin-1"), Text), codec)

    def test_half_a_surrogate_pair_is_no_text(self, written, codec):
        message = refused(written('{"prompt": "a\\ud800"}\n'), codec)
        assert message == r"the prompt 'a\ud800' is no Unicode text: surrogates not allowed"


class TestCodec:
    def test_random_weights_read_bytes_and_decode_nothing(self):
        codec = Codec(None, vocab_size=100, random=True)
        assert codec.encode("aé") == [97, 0xC3 % 100, 0xA9 % 100]
        assert codec.decode([97]) is None

    def test_real_weights_without_a_tokenizer_take_ids_only(self, written):
        codec = Codec(None, vocab_size=100, random=False)
        assert read(written('{"tokens": [1]}\n'), codec)[0].tokens == (1,)
        message = refused(Builtin(), codec)
        assert "no tokenizer.json" in message
        assert "prompts=synthetic" in message

    def test_special_tokens_are_not_shown(self, codec):
        assert codec.decode([0, *codec.encode("a"), 0]) == "a"

    def test_a_broken_tokenizer_is_the_user_s_to_mend(self, tokenizer, tmp_path):
        broken = tmp_path / "tokenizer.json"
        broken.write_text(tokenizer.read_text()[:-100])
        with pytest.raises(
            UserError,
            match=r"tokenizer\.json is no tokenizer that can be read .*convert the model again",
        ):
            Codec(broken, vocab_size=270, random=False)


class TestRagged:
    def test_lengths_are_drawn_between_two_numbers_mostly_short(self, codec):
        spec = Synthetic(count=400, length=16, max_length=256, seed=3)
        lengths = [len(prompt.tokens) for prompt in read(spec, codec)]
        assert min(lengths) >= 16
        assert max(lengths) <= 256
        assert (
            0.4 < sum(length < 64 for length in lengths) / 400 < 0.6
        )  # half of the way, as powers of two go
        assert read(spec, codec) == read(spec, codec)

    def test_each_prompt_may_have_a_number_of_tokens_to_come(self, codec):
        prompts = read(Synthetic(count=50, new_tokens=2, max_new_tokens=9), codec)
        assert {prompt.new_tokens for prompt in prompts} == set(range(2, 10))
        assert {prompt.new_tokens for prompt in read(Synthetic(new_tokens=5), codec)} == {5}
        assert {prompt.new_tokens for prompt in read(Synthetic(), codec)} == {None}

    def test_prompts_may_begin_alike(self, codec):
        prompts = read(Synthetic(count=5, length=12, max_length=20, shared=10), codec)
        assert len({prompt.tokens[:10] for prompt in prompts}) == 1
        assert len({prompt.tokens for prompt in prompts}) == 5

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (
                {"length": 9, "max_length": 8},
                "prompts.max_length=8 needs a prompts.length that is no more",
            ),
            ({"max_new_tokens": 8}, "prompts.max_new_tokens=8 needs a prompts.new_tokens"),
            (
                {"length": 4, "shared": 4},
                "prompts.shared=4 must be 0 or more and below prompts.length=4",
            ),
            ({"new_tokens": 0}, "prompts.new_tokens=0 must be 1 or more"),
        ],
        ids=str,
    )
    def test_what_cannot_be_drawn_is_refused(self, given, words):
        with pytest.raises(UserError, match=re.escape(words)):
            Synthetic(**given)

    def test_a_line_of_jsonl_may_say_how_many(self, codec, tmp_path):
        path = tmp_path / "prompts.jsonl"
        path.write_text('{"tokens": [1, 2], "max_new_tokens": 3}\n{"prompt": "a"}\n')
        assert [prompt.new_tokens for prompt in read(Jsonl(path=str(path)), codec)] == [3, None]
        path.write_text('{"tokens": [1, 2], "max_new_tokens": 0}\n')
        with pytest.raises(UserError, match="line 1 is neither"):
            read(Jsonl(path=str(path)), codec)
