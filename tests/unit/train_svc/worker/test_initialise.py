from __future__ import annotations

import json

import pytest
import torch
from bessemer.api.train.v1.model_pb2 import InitTask, ModelJob
from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.catalogue import CONFIGS
from bessemer.modeling.config import ModelConfig
from bessemer.modeling.generate import generate_greedy
from bessemer.modeling.load import load_model
from bessemer.modeling.tokenizer import Tokenizer
from bessemer.modeling.transformer import Transformer
from google.protobuf import text_format
from train_svc.worker import models, train

from tests.fixtures.training import CHATS, Bench

SMALL = {**CONFIGS["moe-tiny"], "num_hidden_layers": 2, "num_experts": 4, "max_position_embeddings": 128}


@pytest.fixture
def bench(tmp_path):
    yield Bench(tmp_path)
    torch.use_deterministic_algorithms(False)


def init(bench, config, seed=0):
    tokenizer = bench.blobs.put_file(bench.base / "tokenizer.json", "application/json")
    text = config if isinstance(config, str) else json.dumps(config)
    task = InitTask(model="projects/p/models/own", config=text, tokenizer=tokenizer, seed=seed)
    job = ModelJob(name="projects/p/modelJobs/j", init=task)
    return models.run(bench.context(job, kind="modelJobs")[0]).result


def run(bench, method, data):
    values = {"learning_rate": 0.01, "tokens_per_step": 128, "steps": 12, "threads": 1, "sequence_length": 64}
    recipe = text_format.Parse(method, TrainingRecipe(**values, dtype="fp32", checkpoint_every_steps=5))
    context, link = bench.context(bench.job(recipe, data))
    done = train.run(context)
    context.beat()
    points = [point for request in link.requests for point in request.metrics]
    points += context.take_metrics()
    return done.result, {(p.key, p.step): p.value for p in points}


def test_model_from_a_configuration_is_pretrained_tuned_and_speaks(bench, tmp_path):
    made = init(bench, SMALL)
    bench.model = made.manifest
    pretrained, metrics = run(bench, "cpt {}", bench.text())
    assert metrics["train/loss", 12] < metrics["train/loss", 1] - 0.5
    loads = [metrics[f"train/expert_load_max_over_mean/{layer}", 12] for layer in range(2)]
    assert metrics["train/expert_load_max_over_mean", 12] == max(loads) >= 1
    bench.model = pretrained.manifest
    tuned, metrics = run(bench, "sft {} lora { rank: 4 }", bench.rows("CHAT", CHATS))
    assert metrics["train/loss", 12] < metrics["train/loss", 1]

    folder = fetch(bench.blobs, read_manifest(bench.blobs, tuned.manifest), tmp_path / "out")
    tokenizer = Tokenizer.from_folder(folder)
    prompt = tokenizer.render_chat([{"role": "user", "content": "Name 3"}])
    answer = generate_greedy(load_model(folder), [prompt], max_new_tokens=5, stop=tokenizer.eos_ids)[0]
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([prompt])
    expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False)
    assert answer == expected[0, len(prompt) :].tolist()


def test_same_seed_same_model_other_seed_another(bench):
    first, again, other = (init(bench, SMALL, seed).manifest.sha256 for seed in (0, 0, 1))
    assert first == again != other


def test_initialised_model_states_its_making_and_its_sizes(bench):
    result = init(bench, SMALL)
    facts = read_manifest(bench.blobs, result.manifest).facts
    assert "normal(0, initializer_range)" in facts["initialisation"]
    assert facts["end_token"] == "<|im_end|>"
    assert facts["active_parameters"] < result.parameters == facts["parameters"]


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ("{", "not valid JSON"),
        ("[]", "JSON object"),
        ({**SMALL, "vocab_size": 100}, "leave vocab_size out"),
        ({**SMALL, "model_type": "other"}, "model_type"),
        ({**SMALL, "num_experts_per_tok": 9}, "num_experts_per_tok"),
        ({**SMALL, "auto_map": {}}, "auto_map"),
    ],
)
def test_configuration_that_cannot_be_is_refused(bench, config, wrong):
    with pytest.raises(InvalidRequest, match=wrong):
        init(bench, config)


@pytest.mark.parametrize("name", CONFIGS)
def test_catalogue_configurations_are_as_large_as_the_count_says(name):
    config = ModelConfig.from_json({**CONFIGS[name], "vocab_size": 49152})
    with torch.device("meta"):
        model = Transformer(config)
    assert sum(p.numel() for p in model.parameters()) == config.num_parameters
