"""A task as next-word prediction: a template, the words that answer it, and how we find the answer."""

from dataclasses import dataclass, replace
from typing import Literal

from lora_jax.data.tasks import e2e, qa, sample, xsum
from lora_jax.data.tasks.template import Template, parse_template
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.ranges import Count, check_fields

Scorer = Literal["likelihood", "generate"]
TEXT_SCORES = ("exact_match", "token_f1", "rouge_1", "rouge_2", "rouge_l")


@dataclass(frozen=True)
class Prompt:
    """How a question is asked and how its answer is found.

    The answer follows the template after a space, unless the template ends with white space.

    Attributes:
        template: The question, with columns of the task in braces.
        answers: The words of each label, in the order of the task's labels. Empty for free text.
        scorer: "likelihood" chooses the label whose words are likeliest. "generate" lets the model write up
            to a stop and compares the text with the answer.
        separator: Text between the examples, and before the question.
        neutral: A prompt that asks nothing, for normalise="unconditional".
        scores: How generated text is scored. The first score leads.
        n_new: Largest number of generated tokens.
        stop: Generated text ends before the first of these.

    Raises:
        LoraJaxError: The template has no columns, the scorer or a score is unknown, an answer has no words,
            or there are fewer than two labels to compare.
    """

    template: str
    answers: tuple[str, ...] = ()
    scorer: Scorer = "likelihood"
    separator: str = "\n\n"
    neutral: str = "Answer:"
    scores: tuple[str, ...] = ("exact_match", "token_f1")
    n_new: Count = 32
    stop: tuple[str, ...] = ("\n",)

    def __post_init__(self) -> None:
        check_fields(self, "prompt")
        parse_template(self.template)
        if self.scorer == "likelihood" and len(self.answers) < 2:
            raise LoraJaxError(
                f"The prompt {self.template!r} has {len(self.answers)} answers, of which the likelihood of at"
                " least two is compared: give the words of each label, or let it generate."
            )
        for answer in self.answers:
            if not answer.strip():
                raise LoraJaxError(
                    f"The answers are {', '.join(map(repr, self.answers))}, of which {answer!r} has no words:"
                    " give each label some."
                )
        if len(set(self.answers)) < len(self.answers):
            raise LoraJaxError(
                f"The answers are {', '.join(map(repr, self.answers))}, two of which are the same words: give"
                " each label its own."
            )
        for name in self.scores:
            if name not in TEXT_SCORES:
                raise LoraJaxError(f"There is no score {name!r}{nearest(name, TEXT_SCORES)}: correct it.")

    @property
    def parsed(self) -> Template:
        """The template, parsed."""
        return parse_template(self.template)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the template names, in order."""
        return tuple(name for _, name in self.parsed.parts if name is not None)

    @property
    def tail(self) -> str:
        """The template's text after its last column."""
        text, name = self.parsed.parts[-1]
        return text if name is None else ""

    def follow(self, answer: str) -> str:
        """Return an answer's words as they follow the question."""
        return self.parsed.follow(answer)


_ENTAILMENT = "{{{}}}\nQuestion: {{{}}} {}?\nAnswer:"  # GPT-3's form (arXiv 2005.14165, appendix G)
_SQUAD = Prompt(qa.TEMPLATE, scorer="generate")
_SENTIMENT = Prompt('The sentiment of the sentence "{sentence}" is:', ("negative", "positive"))
PROMPTS = {
    "sst2": _SENTIMENT,
    "rte": Prompt(_ENTAILMENT.format("sentence1", "sentence2", "True or False"), ("True", "False")),
    "mnli": Prompt(
        _ENTAILMENT.format("premise", "hypothesis", "True, False, or Neither"), ("True", "Neither", "False")
    ),
    "qa": _SQUAD,
    "squad": _SQUAD,
    "xsum": Prompt(xsum.TEMPLATE, scorer="generate", scores=("rouge_l", "rouge_1", "rouge_2"), n_new=64),
    "e2e": Prompt(e2e.TEMPLATE, scorer="generate", scores=("rouge_l", "rouge_1", "rouge_2"), n_new=64),
    sample.NAME: _SENTIMENT,
}


def find_prompt(
    task: str,
    template: str | None = None,
    answers: tuple[str, ...] | None = None,
    scorer: Scorer | None = None,
) -> Prompt:
    """Find the built-in prompt of a task, and change what is given.

    "tfds:glue/sst2" has the prompt of "sst2". A task without a built-in prompt needs a template. Without
    answers it then generates free text.

    Args:
        task: Name of the task.
        template: The template, instead of the built-in one.
        answers: The words of each label, instead of the built-in ones.
        scorer: The scorer, instead of the built-in one.

    Raises:
        LoraJaxError: There is no built-in prompt and no template, or `Prompt` refuses the values.
    """
    found = PROMPTS.get(short_name(task))
    if found is None:
        if template is None:
            raise LoraJaxError(
                f"The task {task!r} has no prompt of its own, {', '.join(PROMPTS)} have: give one with its"
                " columns in braces (--template '{text} The sentiment is:', or in a config the task's"
                " prompt=Prompt('{text} The sentiment is:', ('negative', 'positive')))."
            )
        wanted = scorer or ("likelihood" if answers else "generate")
        return Prompt(template, answers or (), wanted)
    return replace(
        found,
        template=found.template if template is None else template,
        answers=found.answers if answers is None else answers,
        scorer=scorer or ("likelihood" if answers else found.scorer),
    )


def short_name(task: str) -> str:
    """Return "sst2" for "tfds:glue/sst2:2.0.0" and "squad" for "tfds:squad/v1.1".

    Other names stay as they are.
    """
    kind, _, rest = task.partition(":")
    if kind != "tfds" or not rest:
        return task
    name, *config = rest.partition(":")[0].split("/")
    name = config[0] if name == "glue" and config else name
    return "e2e" if name == "e2e_cleaned" else name
