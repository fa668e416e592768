"""Prompts as turns of a chat, for models that were taught to read them so.

Whether a model's chat template is used is settled once, when the model is loaded: a tokenizer that
has a template afterwards is one whose template is used. It is saved with the model, so training,
generation and PPO agree without being told.
"""

from __future__ import annotations

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from envs.errors import UserError
from sft.train_config import ChatUse


def settle_chat(tokenizer: PreTrainedTokenizerBase, use: ChatUse, name: str) -> None:
    """Keep the chat template of ``tokenizer`` or take it away, as ``use`` says.

    Raises UserError when there is none under ``always``, or when it takes no lone user turn.
    """
    if use == "never":
        tokenizer.chat_template = None
    if tokenizer.chat_template is None:
        if use == "always":
            raise UserError(
                f"base model: sft.base.chat is 'always', but the tokenizer of {name} has no chat "
                "template: set it to 'auto' or 'never', or give the tokenizer a template."
            )
        return
    try:
        encode_turns(tokenizer, ["a prompt"])
    except (TemplateError, ValueError) as error:
        raise UserError(
            f"base model: the chat template of {name} cannot show a single user turn "
            f"({' '.join(str(error).split())}): set sft.base.chat to 'never', or mend the template."
        ) from error


def encode_turns(tokenizer: PreTrainedTokenizerBase, prompts: list[str]) -> list[list[int]]:
    """Return the token ids of each prompt as a user's turn, up to where the answer begins.

    Only the template writes control tokens: their likes in a prompt are encoded as plain text, so
    a product title can neither end its turn nor begin another.
    """
    return tokenizer.apply_chat_template(
        [[{"role": "user", "content": prompt}] for prompt in prompts],
        add_generation_prompt=True,
        sanitize_control_tokens=True,
        return_dict=True,
    )["input_ids"]
