from __future__ import annotations

import json

import pytest
import torch
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.generate import generate_greedy
from bessemer.modeling.language_model import read_config
from bessemer.modeling.load import load_model, save_model
from bessemer.modeling.lora import add_adapters, merge_parametrized
from bessemer.modeling.score import pack_positions, score, score_branches
from bessemer.modeling.transformers_config import net_class, parse_config

from tests.fixtures.tiny_transformers import IMAGE_ID, SEEING, SHAPES, make_tiny_transformers


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}

    def folder(kind):
        if kind not in made:
            made[kind] = make_tiny_transformers(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return folder


@pytest.mark.parametrize("kind", SHAPES)
def test_logits_equal_those_of_the_class_with_its_own_attention(folders, kind):
    model = load_model(folders(kind))
    oracle = net_class(kind)._from_config(parse_config(SHAPES[kind]), attn_implementation="eager").eval()
    oracle.load_state_dict(model.net.state_dict())
    ids = torch.randint(3, 500, (40,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = model.logits(model(ids, torch.arange(40), [40]))
        theirs = oracle(input_ids=ids[None]).logits[0]
    assert (ours - theirs).abs().max() < 1e-4


@pytest.mark.parametrize("kind", SHAPES)
def test_packed_documents_do_not_see_each_other(folders, kind):
    model = load_model(folders(kind))
    lengths = [5, 13, 29]
    ids = torch.randint(3, 500, (47,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        packed = model(ids, pack_positions(lengths), lengths).split_with_sizes(lengths)
        alone = [model(part, torch.arange(len(part)), [len(part)]) for part in ids.split_with_sizes(lengths)]
    assert max(float((a - b).abs().max()) for a, b in zip(packed, alone, strict=True)) < 1e-5
    assert model.packs == (kind != "qwen3_next")


@pytest.mark.parametrize("kind", SEEING)
def test_packed_images_reach_their_own_document_only(folders, kind):
    model = load_model(folders(kind))
    count = model.config.image.num_tokens
    document = torch.tensor([5, *[IMAGE_ID] * count, 6, 7])
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    n = len(document)
    with torch.no_grad():
        packed = model(document.repeat(2), pack_positions([n, n]), [n, n], pixels)
        alone = [model(document, torch.arange(n), [n], image[None]) for image in pixels]
    assert (packed - torch.cat(alone)).abs().max() < 1e-5
    assert (alone[0] - alone[1]).abs().max() > 1e-2


@pytest.mark.parametrize("kind", SHAPES)
def test_saved_model_is_the_same_in_transformers_and_here(folders, kind, tmp_path):
    model = load_model(folders(kind))
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    theirs = net_class(kind).from_pretrained(tmp_path, local_files_only=True)
    for name, weight in model.net.state_dict().items():
        assert torch.equal(again.net.state_dict()[name], weight)
        assert torch.equal(theirs.state_dict()[name], weight)


@pytest.mark.parametrize("kind", ["mistral4", "gpt_oss", "qwen3_next", "mistral3"])
def test_cached_generation_equals_generation_without_a_cache(folders, kind):
    model = load_model(folders(kind))
    prompts = [[5, 6, 7, 8], [9, 10, 11]]
    written = generate_greedy(model, prompts, max_new_tokens=12)
    for prompt, answer in zip(prompts, written, strict=True):
        ids = list(prompt)
        for _ in range(12):
            with torch.no_grad():
                hidden = model(torch.tensor(ids), torch.arange(len(ids)), [len(ids)])
            ids.append(int(model.logits(hidden[-1:]).argmax()))
        assert ids[len(prompt) :] == answer


def test_branches_are_scored_as_the_sequences_they_stand_for(folders):
    model = load_model(folders("mistral4"))
    prefix, branches = [5, 6, 7], [[8, 9], [10]]
    (scores,) = score_branches(model, [(prefix, branches)])
    for branch, found in zip(branches, scores, strict=True):
        (whole,) = score(model, [[*prefix, *branch]])
        assert torch.allclose(found, whole[-len(branch) :], atol=1e-5)


@pytest.mark.parametrize("kind", SHAPES)
def test_adapters_change_nothing_at_first_cover_experts_and_merge(folders, kind):
    model = load_model(folders(kind))
    ids, positions = torch.arange(3, 40), torch.arange(37)
    with torch.no_grad():
        before = model(ids, positions, [37])
    add_adapters(model, rank=2, alpha=4.0, seed=0)
    learning = [name for name, p in model.named_parameters() if p.requires_grad]
    assert all(".lora_" in name for name in learning)
    assert any("experts" in name for name in learning) == bool(model.config.num_experts)
    with torch.no_grad():
        assert (model(ids, positions, [37]) - before).abs().max() < 1e-6
        for name, parameter in model.named_parameters():
            if name.endswith("lora_b"):
                parameter.normal_(std=0.02, generator=torch.Generator().manual_seed(3))
        adapted = model(ids, positions, [37])
        merge_parametrized(model)
        assert (model(ids, positions, [37]) - adapted).abs().max() < 1e-5
        assert (adapted - before).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"model_type": "no_such_model"}, "model_type"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
        ({"text_config": {"_attn_implementation_internal": "someone/kernel"}}, "_attn_implementation_internal"),
        ({"attn_implementation": "someone/kernel"}, "attn_implementation"),
        ({"quantization_config": {}}, "quantization_config"),
        ({"final_logit_softcapping": 30.0, "model_type": "gemma2"}, "final_logit_softcapping"),
    ],
)
def test_configuration_that_names_code_or_other_arithmetic_is_refused(change, wrong):
    with pytest.raises(InvalidRequest, match=wrong):
        read_config({**SHAPES["gpt_oss"], **change})


def test_files_with_missing_extra_or_misshapen_tensors_are_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    source = folders("mistral4")
    tensors = load_file(source / "model.safetensors")
    first = next(iter(tensors))
    damaged = [
        {k: v for k, v in tensors.items() if k != first},
        {**tensors, "model.surprise": torch.zeros(2)},
        {**tensors, first: torch.zeros(3, 3)},
    ]
    for number, content in enumerate(damaged):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(SHAPES["mistral4"]))
        save_file(content, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(InvalidRequest, match="model"):
            load_model(folder)


def test_parameter_count_of_the_default_mistral4_is_exact():
    config = read_config({"model_type": "mistral4"})
    assert config.num_parameters == 118_972_826_624
