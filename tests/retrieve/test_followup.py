"""Follow-up questions: which lean on the turn before, and what they carry from it."""

from __future__ import annotations

import pytest

from ragformer.retrieve.followup import MAX_CARRIED, carry, is_follow_up, recent_documents
from ragformer.store.store import Store
from ragformer.types import Answer, Document


@pytest.mark.parametrize(
    "question",
    [
        "why?",
        "and how long is it?",
        "What about part-time staff?",
        "How about the second year?",
        "How much does it cost?",
        "How many years is it?",
        "And what colour are they?",
        "Which language does she speak?",
        "When does it have to be returned?",
        "Who signed it?",
        "Who pays for them?",
        "How do I clean it?",
        "What does that mean?",
        "Does this apply to contractors?",
        "In winter?",
        "And the deposit?",
        "How many are there?",
        "Who else?",
        "?!",
    ],
)
def test_a_question_that_cannot_stand_alone_leans(question: str) -> None:
    assert is_follow_up(question)


@pytest.mark.parametrize(
    "question",
    [
        "How long does the cat sleep?",
        "What can you do?",
        "Who are you?",
        "Is it allowed to smoke in the flat?",
        "How long does it take to charge the battery?",
        "How long does it take for the paint to dry?",
        "How much did it rain in 1962?",
        "What does the machine do when it is switched off?",
        "How do employees request their leave?",
        "Do cats lose their fur?",
        "What does this policy cover?",
        "How many hours does it take to charge the battery?",
        "What do they say of the effect that income from rent has on the tax of a company?",
        "What does the tenant do if he leaves?",
        "Which animals that are kept at home hunt at night?",
        "And how many days of annual leave does a full-time employee have?",
        "On what date was the agreement signed?",
        "Is there a warranty?",
        "What is it that makes plants green?",
        "Before he died, what did the inventor's father ask the young man to do?",
    ],
)
def test_a_question_that_stands_alone_does_not(question: str) -> None:
    assert not is_follow_up(question)


def answered(question: str, text: str, **fields: object) -> Answer:
    abstained = bool(fields.pop("abstained", False))
    return Answer(question, text, (), (), 0.5, abstained, None, "local", "m", **fields)  # type: ignore[arg-type]


def test_a_follow_up_carries_the_terms_of_question_and_answer_once() -> None:
    last = answered("Who signed the lease?", "Anna Berg\n\n“Signed: Anna Berg.” [1]\nlease.pdf")
    assert carry("When was she born?", last) == "When was she born? signed lease anna berg"
    assert carry("Which lease?", last) == "Which lease? signed anna berg"
    assert carry("?", last) == "signed lease anna berg"


def test_a_refusal_gives_no_terms_and_a_chain_keeps_its_own() -> None:
    refused = answered("How long is the notice?", "That is not in your documents.", abstained=True)
    assert carry("why?", refused) == "why? long notice"
    third = answered("and then?", "5 weeks", searched_as="and then? notice period")
    assert carry("why?", third) == "why? notice period 5 weeks"


def test_what_is_carried_is_short() -> None:
    last = answered(" ".join(f"word{n}" for n in range(300)), "x")
    assert len(carry("why?", last).split()) == 1 + MAX_CARRIED


def test_an_answer_about_a_document_carries_its_title(shelf: Store) -> None:
    documents = shelf.documents()
    last = answered("How many pages does the manual have?", "4", about=tuple(documents[:1]))
    assert carry("and who wrote it?", last) == "and who wrote it? cassia 3 user manual"
    both = answered("How many pages?", "4", about=tuple(documents))
    assert carry("why?", both) == "why?"
    assert recent_documents(last, documents) == documents[:1]
    gone: list[Document] = recent_documents(last, documents[1:])
    assert gone == recent_documents(None, documents) == []
