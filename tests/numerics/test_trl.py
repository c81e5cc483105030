"""Our losses against those of TRL on the same batch, with the same weights, in fp32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bessemer.modeling.load import hf_tensors, load_model
from train_svc.worker.components import Losses
from train_svc.worker.rows import Document, Opinion, Pair, Rollout, Row
from train_svc.worker.step import answer_logprobs, backward

from tests.fixtures.tiny_model import make_tiny_model

transformers = pytest.importorskip("transformers")
trl = pytest.importorskip("trl", reason="TRL is not installed; install bessemer[dev]")
datasets = pytest.importorskip("datasets", reason="datasets is not installed; install bessemer[dev]")

SHAPES = [(9, 5), (4, 11), (13, 7), (6, 6)]  # tokens of prompt and answer
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Policy and reference."""
    root = tmp_path_factory.mktemp("trl")
    return make_tiny_model(root / "policy", seed=1), make_tiny_model(root / "reference", seed=2)


def documents(count, seed):
    generator = np.random.default_rng(seed)
    made = []
    for i in range(count):
        prompt, answer = SHAPES[i % len(SHAPES)]
        weights = np.concatenate((np.zeros(prompt), np.ones(answer))).astype(np.float32)
        made.append(Document(generator.integers(3, 512, prompt + answer), weights))
    return made


def batch_of(made, prefix=""):
    """Return documents as TRL pads them."""
    width = max(len(d.ids) for d in made)
    ids, mask, completion = (torch.zeros(len(made), width, dtype=torch.long) for _ in range(3))
    for i, document in enumerate(made):
        length = len(document.ids)
        ids[i, :length] = torch.from_numpy(document.ids)
        mask[i, :length] = 1
        completion[i, :length] = torch.from_numpy(document.weights).long()
    return {f"{prefix}input_ids": ids, f"{prefix}attention_mask": mask, f"{prefix}completion_mask": completion}


def their_models(folders):
    models = [transformers.AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32) for f in folders]
    return *models, transformers.AutoTokenizer.from_pretrained(folders[0])


def arguments(kind, folder, **fields):
    return kind(output_dir=str(folder), use_cpu=True, report_to=[], bf16=False, gradient_checkpointing=False, **fields)


def agree(ours, result, loss, theirs):
    """Compare the loss and the gradient of every weight."""
    assert result.loss == pytest.approx(loss.item(), rel=TOLERANCE)
    loss.backward()
    gradients = hf_tensors(ours, {n: p.grad for n, p in ours.named_parameters()})
    for key, parameter in theirs.named_parameters():
        if "embed_tokens" in key:  # transformers keeps the gradients of its padding token out
            continue
        assert (gradients[key] - parameter.grad).norm() <= 1e-4 * parameter.grad.norm(), key


def test_sft_same_batch_same_loss(folders, tmp_path):
    theirs, _, tokenizer = their_models(folders)
    made = documents(4, seed=3)
    rows = datasets.Dataset.from_list([{"text": "x"}])
    trainer = trl.SFTTrainer(theirs, arguments(trl.SFTConfig, tmp_path), train_dataset=rows, processing_class=tokenizer)
    batch = batch_of(made)
    labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
    loss = trainer.compute_loss(theirs, {**batch, "labels": labels})
    ours = load_model(folders[0])
    agree(ours, backward(ours, [Row((d,)) for d in made], Losses()), loss, theirs)


@pytest.mark.parametrize(("name", "noise"), [("sigmoid", 0.0), ("robust", 0.2), ("ipo", 0.0)])
def test_dpo_with_anchor_same_batch_same_loss(folders, tmp_path, name, noise):
    theirs, reference, tokenizer = their_models(folders)
    chosen, rejected = documents(4, seed=4), documents(4, seed=5)
    rows = datasets.Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])
    config = arguments(
        trl.DPOConfig, tmp_path, beta=0.3, loss_type=[name, "sft"], loss_weights=[1.0, 0.7], label_smoothing=noise
    )
    trainer = trl.DPOTrainer(theirs, reference, config, train_dataset=rows, processing_class=tokenizer)
    loss = trainer.compute_loss(theirs, batch_of([*chosen, *rejected]))
    ours, base = load_model(folders[0]), load_model(folders[1])
    known = [answer_logprobs(base, pair) for pair in zip(chosen, rejected, strict=True)]
    packed = [Row(pair, (Pair(0, 1, *k),)) for pair, k in zip(zip(chosen, rejected, strict=True), known, strict=True)]
    losses = Losses(0.7, pair=name, beta=0.3, label_noise=noise)
    agree(ours, backward(ours, packed, losses), loss, theirs)


def test_kto_same_batch_same_loss(folders, tmp_path):
    theirs, reference, tokenizer = their_models(folders)
    answers, contrasts, labels = documents(4, seed=6), documents(4, seed=7), [True, False, False, True]
    rows = datasets.Dataset.from_list([{"prompt": "a", "completion": "b", "label": label} for label in labels])
    config = arguments(
        trl.KTOConfig, tmp_path, beta=0.3, desirable_weight=1.0, undesirable_weight=1.3, per_device_train_batch_size=4
    )
    trainer = trl.KTOTrainer(theirs, reference, config, train_dataset=rows, processing_class=tokenizer)
    loss = trainer.compute_loss(
        theirs, {**batch_of(answers), **batch_of(contrasts, "KL_"), "label": torch.tensor(labels)}
    )
    ours, base = load_model(folders[0]), load_model(folders[1])
    known, known_contrasts = answer_logprobs(base, answers), answer_logprobs(base, contrasts)
    packed = [
        Row((d,), opinions=(Opinion(0, label, k, contrast, c),))
        for d, label, k, contrast, c in zip(answers, labels, known, contrasts, known_contrasts, strict=True)
    ]
    agree(ours, backward(ours, packed, Losses(0.0, beta=0.3, undesirable=1.3)), loss, theirs)


@pytest.mark.parametrize(("variant", "clip"), [("dr_grpo", None), ("dapo", (0.2, 0.28))])
def test_grpo_same_batch_same_loss(folders, tmp_path, variant, clip):
    theirs, _, tokenizer = their_models(folders)
    made = documents(4, seed=8)
    advantages = np.array([1.0, -0.5, 0.25, -0.75], np.float32)
    rows = datasets.Dataset.from_list([{"prompt": "a"}] * 4)
    low, high = clip or (1e6, 1e6)
    config = arguments(
        trl.GRPOConfig, tmp_path, beta=0.04, loss_type=variant, epsilon=low, epsilon_high=high,
        max_completion_length=16, num_generations=2, per_device_train_batch_size=4,
    )  # fmt: skip
    trainer = trl.GRPOTrainer(theirs, lambda **_: [0.0], config, train_dataset=rows, processing_class=tokenizer)
    trainer.current_gradient_accumulation_steps = 1
    ours, base = load_model(folders[0]), load_model(folders[1])
    total = sum(float(d.weights.sum()) for d in made)
    share = 1 / (4 * 16) if variant == "dr_grpo" else 1 / total
    packed, batch = [], {key: [] for key in ("behaviour", "reference")}
    drift = np.random.default_rng(9)
    for document, advantage in zip(made, advantages, strict=True):
        live, known = (token_logprobs_of(model, document) for model in (ours, base))
        behaviour = (live + drift.normal(0, 0.3, len(live)) * document.weights).astype(np.float32)
        streams = behaviour, known, advantage * document.weights, share * document.weights
        packed.append(Row((document,), rollouts=(Rollout(0, *streams),)))
        batch["behaviour"].append(behaviour)
        batch["reference"].append(known)
    result = backward(ours, packed, Losses(clip=clip, kl=0.04, mask_above=9.0))
    loss = trainer._compute_loss(theirs, grpo_batch(made, batch, advantages, total))
    agree(ours, result, loss, theirs)


def token_logprobs_of(model, document):
    """Return log p of each token of the answer, zero before it."""
    from bessemer.modeling.score import token_logprobs

    values = token_logprobs(model, document.ids).numpy()
    return np.concatenate(([0.0], values)).astype(np.float32) * document.weights


def grpo_batch(made, streams, advantages, total):
    """Return prompts padded on the left and answers on the right."""
    prompts, answers = (max(int((d.weights == w).sum()) for d in made) for w in (0, 1))
    batch = {key: torch.zeros(len(made), prompts, dtype=torch.long) for key in ("prompt_ids", "prompt_mask")}
    batch |= {key: torch.zeros(len(made), answers, dtype=torch.long) for key in ("completion_ids", "completion_mask")}
    batch |= {key: torch.zeros(len(made), answers) for key in ("old_per_token_logps", "ref_per_token_logps")}
    for i, document in enumerate(made):
        opening = int(document.weights.argmax())
        ids, length = torch.from_numpy(document.ids), len(document.ids) - opening
        batch["prompt_ids"][i, prompts - opening :] = ids[:opening]
        batch["prompt_mask"][i, prompts - opening :] = 1
        batch["completion_ids"][i, :length] = ids[opening:]
        batch["completion_mask"][i, :length] = 1
        batch["old_per_token_logps"][i, :length] = torch.from_numpy(streams["behaviour"][i][opening:])
        batch["ref_per_token_logps"][i, :length] = torch.from_numpy(streams["reference"][i][opening:])
    return {**batch, "advantages": torch.from_numpy(advantages), "num_items_in_batch": torch.tensor(total)}
