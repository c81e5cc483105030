import random

from hypothesis import given, settings
from hypothesis import strategies as st
from serve_svc.engine.paged.blocks import BLOCK_TOKENS, Blocks

WORDS = list(range(1000))


def answer(blocks, prompt, num_answer, space=""):
    lease = blocks.lease(prompt, len(prompt) + num_answer, space)
    blocks.grow(lease, prompt[len(lease.tokens) :])
    return lease


def test_lease_known_prompt_shares_its_whole_blocks_and_copies_the_rest():
    blocks = Blocks(40)
    first = answer(blocks, WORDS[:80], 10)
    blocks.grow(first, WORDS[80:85])
    blocks.give_back(first)
    second = blocks.lease(WORDS[:83], 100)
    assert second.table[:2] == first.table[:2]
    assert second.copy == (first.table[2], second.table[2])
    assert second.tokens == WORDS[:82]


def test_lease_same_prompt_again_still_reads_its_last_token():
    blocks = Blocks(40)
    prompt = WORDS[: 4 * BLOCK_TOKENS]
    blocks.give_back(answer(blocks, prompt, 1))
    assert blocks.lease(prompt, 200).tokens == prompt[:-1]


def test_lease_running_prompt_is_shared():
    blocks = Blocks(40)
    first = answer(blocks, WORDS[:70], 10)
    second = blocks.lease(WORDS[:65], 70)
    assert second.table[:2] == first.table[:2]


def test_lease_without_room_waits_until_somebody_leaves():
    blocks = Blocks(4)
    first = answer(blocks, WORDS[:40], 24)
    second = answer(blocks, WORDS[500:540], 24)
    assert blocks.lease(WORDS[:10], 12) is None
    blocks.give_back(second)
    third = answer(blocks, WORDS[600:640], 24)
    assert len({*first.table, *third.table}) == 4


def test_lease_of_another_space_shares_nothing():
    blocks = Blocks(40)
    blocks.give_back(answer(blocks, WORDS[:80], 10, "adapter"))
    assert blocks.lease(WORDS[:80], 90).tokens == []
    assert len(blocks.lease(WORDS[:80], 90, "adapter").tokens) == 79


def test_blocks_given_to_others_are_no_longer_found():
    blocks = Blocks(4)
    blocks.give_back(answer(blocks, WORDS[:80], 10))
    blocks.give_back(answer(blocks, WORDS[500:600], 20))
    assert len(blocks.lease(WORDS[:80], 90).tokens) < 32


@settings(deadline=None)  # machines are busy at times
@given(st.integers(0, 1 << 32), st.integers(4, 24))
def test_blocks_whatever_comes_and_goes_hold_what_leases_say(seed, num_blocks):
    """A shadow of the cache is written token by token; a lease always finds its own tokens in its blocks."""
    chance = random.Random(seed)
    blocks = Blocks(num_blocks)
    stored = [[None] * BLOCK_TOKENS for _ in range(num_blocks)]
    running = []

    def write(lease, start):
        for i in range(start, len(lease.tokens)):
            stored[lease.table[i // BLOCK_TOKENS]][i % BLOCK_TOKENS] = lease.tokens[i]

    for _ in range(60):
        if running and chance.random() < 0.5:
            lease, rest = running.pop(chance.randrange(len(running)))
            if rest and chance.random() < 0.8:
                size = chance.randint(1, len(rest))
                start = len(lease.tokens)
                blocks.grow(lease, rest[:size])
                write(lease, start)
                running.append((lease, rest[size:]))
            else:
                blocks.give_back(lease)
        else:
            length = chance.randint(1, 100)
            prompt = [chance.choice([7, 8]) if chance.random() < 0.02 else 7 for _ in range(length)]
            lease = blocks.lease(prompt, length + 20)
            if lease is None:
                continue
            if lease.copy is not None:
                stored[lease.copy[1]] = list(stored[lease.copy[0]])
            running.append((lease, prompt[len(lease.tokens) :] + [9] * 19))
        for lease, _ in running:
            held = [stored[lease.table[i // BLOCK_TOKENS]][i % BLOCK_TOKENS] for i in range(len(lease.tokens))]
            assert held == lease.tokens
    for lease, _ in running:
        blocks.give_back(lease)
    assert blocks.num_available == num_blocks
