"""What cannot run over shared pages, or is incomplete, is refused by name in one sentence."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    GenerationConfig,
)

from search.backends import attention, supported
from search.backends.loading import dtype_of, load_model, load_tokenizer, quiet
from search.backends.paged_runner import PagedRunner, language_head
from search.backends.transformers_model import TransformersLanguageModel, sampling_of
from search.errors import ModelRefused
from search.interfaces import Sampling


def refusal(folder: Path | str, load: Any = TransformersLanguageModel) -> str:
    with pytest.raises(ModelRefused) as caught:
        load(str(folder))
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 300
    return text


def config_only(folder: Path, **fields: Any) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(fields))
    return folder


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("deepseek_v3", "latent attention"),
        ("deepseek_v2", "latent attention"),
        ("mamba", "recurrent state"),
        ("falcon_h1", "recurrent state"),
        ("qwen3_next", "recurrent state"),
        ("gpt_oss", "attention sinks"),
        ("gemma3n_text", "share keys and values"),
        ("t5", "encoder-decoder"),
        ("bart", "encoder-decoder"),
    ],
)
def test_architectures_without_shareable_pages(tmp_path: Path, kind: str, reason: str) -> None:
    text = refusal(config_only(tmp_path / "model", model_type=kind))
    assert f"'{kind}'" in text
    assert reason in text


def test_every_refused_model_type_is_one_that_transformers_knows() -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    listed = (
        supported.LATENT_ATTENTION
        | supported.RECURRENT_STATE
        | supported.ATTENTION_SINKS
        | supported.SHARED_LAYERS
    )
    for kind in ("deepseek_v3", "mamba", "mamba2", "jamba", "gpt_oss", "gemma3n"):
        assert kind in listed
        assert kind in CONFIG_MAPPING_NAMES


def test_unknown_model_type(tmp_path: Path) -> None:
    assert "unknown model type 'perceptron'" in refusal(
        config_only(tmp_path / "model", model_type="perceptron")
    )


def test_config_without_a_model_type(tmp_path: Path) -> None:
    assert "names no model_type" in refusal(config_only(tmp_path / "model", hidden_size=8))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"num_attention_heads": "four"}, "'num_attention_heads' expected int, got str"),
        ({"hidden_act": "nope"}, "transformers fails with KeyError: 'nope'"),
        ({"num_key_value_heads": 0}, "transformers fails with ZeroDivisionError"),
    ],
)
def test_config_that_transformers_cannot_use(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    folder = tiny_models.edit_config(tiny_models.make(tmp_path / "model"), **change)
    assert reason in refusal(folder)


def test_config_that_is_not_json(tmp_path: Path) -> None:
    folder = config_only(tmp_path / "model")
    (folder / "config.json").write_text("{")
    assert str(folder) in refusal(folder)


def test_tries_of_a_hub_out_of_reach_are_not_told() -> None:
    from huggingface_hub.utils import logging as hub_logging

    before = hub_logging.get_verbosity()
    with quiet():
        assert hub_logging.get_verbosity() == logging.CRITICAL
    assert hub_logging.get_verbosity() == before


def test_missing_folder_and_folder_without_config(tmp_path: Path) -> None:
    assert "there is no model at" in refusal(tmp_path / "nowhere")
    assert "has no config.json" in refusal(tmp_path)


def test_missing_weights_file(tmp_path: Path) -> None:
    folder = tiny_models.make(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    assert "model.safetensors" in refusal(folder)


@pytest.mark.parametrize("key", ["model.layers.1.mlp.up_proj.weight", "lm_head.weight"])
def test_a_weight_missing_from_the_file(tmp_path: Path, key: str) -> None:
    folder = tiny_models.make(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights[key]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    text = refusal(folder)
    assert key in text
    assert "random" in text


def test_a_weight_of_the_wrong_shape(tmp_path: Path) -> None:
    folder = tiny_models.make(tmp_path / "model")
    tiny_models.edit_config(folder, intermediate_size=40)
    assert re.search(r"up_proj|down_proj|gate_proj|size", refusal(folder))


def test_a_weights_file_that_is_cut_short(tmp_path: Path) -> None:
    folder = tiny_models.make(tmp_path / "model")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert str(folder) in refusal(folder)


def test_a_head_that_would_be_random(folders: Path) -> None:
    folder = tiny_models.made(folders)

    def load(source: str) -> Any:
        return load_model(source, AutoModelForTokenClassification, torch.float32)

    text = refusal(folder, load)
    assert "score.weight" in text or "classifier.weight" in text


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    folder = tiny_models.make(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert "safetensors" in refusal(folder)


def test_code_of_a_repository_runs_only_when_asked_for(tmp_path: Path) -> None:
    folder = config_only(
        tmp_path / "model", model_type="homemade", auto_map={"AutoConfig": "code.Homemade"}
    )
    proof = tmp_path / "ran"
    (folder / "code.py").write_text(f"open({str(proof)!r}, 'w')\n")
    assert "--trust-remote-code" in refusal(folder)
    assert not proof.exists()


def test_missing_tokenizer(tmp_path: Path) -> None:
    folder = tiny_models.make(tmp_path / "model")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    assert "tokenizer" in refusal(folder)


@pytest.mark.parametrize("kind", sorted(tiny_models.ARCHITECTURES))
def test_the_tokenizer_of_the_folder_is_the_one_used(folders: Path, kind: str) -> None:
    """transformers puts a model type's own splitting in place of the file's for some types."""
    folder = tiny_models.made(folders, kind=kind)
    tokens = load_tokenizer(str(folder))
    assert tokens("a\n\nb")["input_ids"] == tiny_models.tokenizer()("a\n\nb")["input_ids"]
    assert tokens.decode(tokens("a\nb")["input_ids"], skip_special_tokens=True) == "a\nb"


def test_a_tokenizer_with_more_ids_than_the_embedding(tmp_path: Path) -> None:
    text = refusal(tiny_models.make(tmp_path / "m", vocab_size=8))
    assert "has ids up to 11 and the model's embedding 8 rows" in text


def test_sampling_of_the_generation_config_counts_where_it_says_so() -> None:
    given = {"temperature": 0.6, "top_p": 0.9, "min_p": 0.05, "top_k": 20}
    assert sampling_of(GenerationConfig(do_sample=True, **given)) == Sampling(**given)
    assert sampling_of(GenerationConfig(do_sample=True, min_p=0.1)) == Sampling(min_p=0.1)
    assert sampling_of(GenerationConfig(**given)) == Sampling()
    assert sampling_of(None) == Sampling()


def test_sampling_of_a_generation_config_out_of_range(tmp_path: Path) -> None:
    folder = tiny_models.make(tmp_path / "m")
    config = GenerationConfig(do_sample=True).to_dict() | {"top_k": 10**12}
    (folder / "generation_config.json").write_text(json.dumps(config))
    assert "generation_config.json: top_k must be a whole number" in refusal(folder)


def test_a_pool_beyond_the_memory() -> None:
    pool = attention.PagedPool(n_pages=2**27 - 1, page_size=16, dtype=torch.float32)
    with pytest.raises(ModelRefused, match=r"no memory for a pool of .* with --pool-tokens"):
        pool.layer(0, kv_heads=64, head_dim=1024)


def test_unknown_dtype() -> None:
    with pytest.raises(ModelRefused, match="unknown dtype 'float16'"):
        dtype_of("float16")


@pytest.mark.parametrize("kind", ["llama4", "llama4_text"])
def test_attention_in_chunks(tmp_path: Path, kind: str) -> None:
    text = refusal(config_only(tmp_path / "model", model_type=kind))
    assert f"'{kind}' cannot run here: its attention in chunks" in text


def test_a_model_that_keeps_its_own_attention(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_models.made(folders, kind="llama")
    real = AutoModelForCausalLM.from_pretrained

    def stubborn(*args: Any, **settings: Any) -> Any:
        settings["attn_implementation"] = "eager"
        return real(*args, **settings)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", stubborn)
    assert "the attention of model type 'llama' cannot be replaced" in refusal(folder)


class TestTheAttentionFunction:
    """Calls that would silently give other numbers."""

    @pytest.fixture
    def model(self, folders: Path) -> Any:
        return tiny_models.policy(tiny_models.made(folders, kind="llama")).runner.model

    def step(self, model: Any) -> tuple[Any, dict[str, Any]]:
        runner = PagedRunner(model, language_head, 64)
        tree = runner.spans.open_tree([1, 3, 4])
        batch = runner.new_batch()
        batch.add(runner.spans.root(tree))
        batch.finish(16)
        return batch, {
            "input_ids": torch.from_numpy(batch.row_tokens)[None],
            "position_ids": torch.from_numpy(batch.row_positions)[None],
            "use_cache": False,
            "treeward_step": attention.StepPlan(runner.pool, batch.plan),
        }

    def test_a_call_without_a_plan(self, model: Any) -> None:
        with pytest.raises(ModelRefused, match="without a plan"):
            model(torch.tensor([[1, 3, 4]]))

    def test_the_call_itself_is_fine(self, model: Any) -> None:
        _, call = self.step(model)
        with torch.inference_mode():
            assert model(**call).logits.shape[1] == 16

    def test_an_attention_mask(self, model: Any) -> None:
        _, call = self.step(model)
        with torch.inference_mode(), pytest.raises(ModelRefused, match="no attention mask"):
            model(**call, attention_mask=torch.zeros(1, 1, 16, 16))

    def test_attention_weights(self, model: Any) -> None:
        _, call = self.step(model)
        with torch.inference_mode(), pytest.raises(ModelRefused, match="attention weights"):
            model(**call, output_attentions=True)

    def test_training_with_dropout(self, folders: Path) -> None:
        folder = tiny_models.made(folders, kind="gpt2")
        model: Any = load_model(str(folder), AutoModelForCausalLM, torch.float32)
        _, call = self.step(model)
        model.train()
        with torch.inference_mode(), pytest.raises(ModelRefused, match="eval mode"):
            model(**call)

    def test_rows_that_the_plan_does_not_have(self, model: Any) -> None:
        _, call = self.step(model)
        call["input_ids"] = call["input_ids"][:, :8]
        call["position_ids"] = call["position_ids"][:, :8]
        with torch.inference_mode(), pytest.raises(ModelRefused, match="16 rows"):
            model(**call)

    def test_another_dtype_than_the_pages(self, model: Any) -> None:
        _, call = self.step(model)
        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16),
            pytest.raises(ModelRefused, match=r"bfloat16.*float32"),
        ):
            model(**call)

    def test_stock_attention_is_never_reached(
        self, folders: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from search import Budget, Problem, Search

        model = tiny_models.policy(tiny_models.made(folders, kind="llama"))

        def never(*args: Any, **settings: Any) -> None:
            raise AssertionError("stock attention was called")

        monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", never)
        search = Search(model, algorithm="best_of_n", budget=Budget(policy_tokens=60))
        assert search.solve(Problem("abc")).ledger.policy.computed > 30
