"""The writing tasks: how typed inputs become prompts, and what should follow them."""

from sft.tasks.briefs import FACTS as FACTS
from sft.tasks.briefs import LIKES as LIKES
from sft.tasks.briefs import TITLE_WORDS as TITLE_WORDS
from sft.tasks.briefs import ItemBrief as ItemBrief
from sft.tasks.briefs import item_briefs as item_briefs
from sft.tasks.briefs import segment_likes as segment_likes
from sft.tasks.briefs import short_title as short_title
from sft.tasks.reason import reason_prompt as reason_prompt
from sft.tasks.text import clean as clean
