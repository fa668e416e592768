"""What a reason must not say although every word of it may be ordinary or the item's own.

The claim checker (`rewards.claims`) already counts inventions, superlatives and comparisons as
unsupported. Here are the phrases that it lets through, because their words claim nothing by
themselves or stand in a seller's own title: pressure to buy, what others are said to do, promises,
instructions to whoever writes or reads, and ways to be reached. Patterns meet a text as
`rewards.words.normalise` leaves it (lower case, no invisible characters).
"""

from __future__ import annotations

import re
from functools import lru_cache

_PEOPLE = (
    r"(?:people|folks?|others|shoppers|buyers|customers|users|owners|families|friends?|guests?|"
    r"men|women|readers)"
)
_DOING = (
    r"(?:loves?|loved|likes?|liked|buys?|buying|bought|choose|chooses|chose|picks?|picked|wants?|"
    r"wanted|prefers?|recommends?|trusts?|uses?|enjoys?|ask|asks|agrees?|says?|said|"
    r"talk|talks|has|have|had|got|gets?|own|owns)"
)

#: Kind -> pattern. Texts in any language are held against the English ones.
_ENGLISH: dict[str, str] = {
    "banned phrase": r"""
        \b(?:best\ ever|the\ best|simply\ the|number\ one|no\.?\ ?1|one\ and\ only|
          guaranteed|guarantees|(?:i|we)\ guarantee|guarantee\ (?:that|you)|risk[-\ ]free|
          cheapest|perfect|miracles?|free\ money|
          100\s?%\ (?:safe|sure)|second\ to\ none|like\ no\ other|
          once\ in\ a\ lifetime|top[-\ ]rated|than\ (?:any|all|others?|most|the\ rest)|
          you(?:'ll|\ will)\ (?:always|never|love|thank)|(?:trust|believe)\ (?:me|us)|
          cures?|cured|heals?|healed|healing|treats?\ (?:your|the|any|all|pain)|
          relieves?|reliev(?:ed|ing)\ pain|prevents?\ (?:illness|disease|pain)|
          (?:doctors?|nurses?)\b.{0,20}\brecommend(?:s|ed)?|recommended\ by|clinically|
          live\ longer|lose\ weight|good\ for\ your\ (?:heart|health|back|skin|body))\b
    """,
    "pressure": rf"""
        \b(?:(?:only|just|ends|valid)\ (?:for\ )?(?:today|tonight|now|this\ (?:week|weekend))|
          (?:today|now|tonight|weekend)\ only|today\ is\ the\ (?:last|only)|
          (?:buy|order|get|take|grab|act|choose|pick|come|call|join|decide|start|try)
            (?:\ (?:it|this|one|yours|them))?\ (?:right\ )?(?:now|today|tonight|soon|before)|
          before\ (?:it|it's|they|others|someone|anyone|everyone|your\ friends?)\b|
          (?:last|final)\ (?:ones?|chance)|the\ last\ (?:days?|hours?|pieces?)|
          (?:one|two|three|few|not\ many)\ (?:are\ |is\ )?left|while\ (?:it|they|stocks?)\ lasts?|
          hurry|(?:do\ not|don't|why)\ wait|now\ or|almost\ gone|selling\ out|limited\ time|
          every\ ?(?:one|body)(?:'s)?|nobody\ else|
          (?:most|all|all\ the|so\ many|many\ other|millions?\ of|thousands?\ of|hundreds\ of)
            \ {_PEOPLE}|
          (?<!for\ )(?<!that\ many\ ){_PEOPLE}(?:\ (?:really|all|always|already|often|just))?
            \ {_DOING}|
          {_PEOPLE}\ who\ (?:already\ )?(?:bought|chose|picked|got|own|tried)|
          (?:loved|trusted|chosen|bought|used|picked|liked|preferred)\ by|
          (?:family|customer)\ favou?rite|favou?rites?\ of)\b
    """,
    "copied prompt": r"""
        \b(?:(?:ignore|forget|disregard|override|bypass)\ (?:all|any|the|your|my|previous|prior|
            these|those|everything|what|it)|
          (?:previous|prior|above|earlier|following|system|new|hidden|secret)[ ]
            (?:instructions?|prompts?|rules?|messages?|commands?)|
          (?:say|write|answer|repeat|print|output|reply|respond)\ (?:exactly|only|that|nothing|this|
            yes|it|with|after|the)|
          (?:tell|ask|show)\ (?:them|everyone|everybody|people|friends?|the|your|him|her)|
          please\ (?:say|tell|write|buy|choose|pick|ignore|recommend|give|rate|click)|
          you\ (?:must|have\ to|need\ to|should)|as\ an?\ (?:ai|language|model)|
          language\ model|developer\ mode)\b
        |\b(?:instructions?|system|assistant|user|prompt|task|answer|output|note)\s?[:：]
    """,
    "personal data": r"""
        https?:|www\.|@[\w-]|\.(?:com|net|org|shop|info|io|cn|co|me|ru)\b|
        \ dot\ (?:com|net|org|shop|cn|info)\b|\+?\d(?:[\s()-]*\d){9,}|
        \b(?:call|phone|text|e?-?mail|write\ to|contact|visit|message)[ ](?:us|me|him|her)\b|
        \bcall[ ]now\b
    """,
}
#: The same for texts that hold more than ASCII; apart, because most texts do not.
_CHINESE: dict[str, str] = {
    "banned phrase": r"""
         保证|保你|包你|包退|包赚|百分之?百|百分百|永远|一辈子|无风险|零风险|最便宜|全网(?:最|第一|首)|
         治疗|治愈|治好|根治|疗效|药到病除|医生推荐|包治|止痛|减肥|抗癌|降血压|延年益寿|长命百岁|
         相信我|信我的|听我的|独一无二|无人能及|绝无仅有
    """,
    "pressure": r"""
         (?:只[有要]?|仅限?|就在?|限)今[天日]|今[天日]就?(?:买|购|入手|下单|选|抢|拿|限)|今日限|
         (?:赶快|赶紧|马上|立即|立刻|快来|快点|现在就|趁早|抓紧)|抢购|抢到|限时|错过|手慢|别等|
         限量(?:抢|供应|发售)|
         最后(?:一|的?机会|的?几)|仅剩|只剩|卖光|售罄|秒杀|再不|
         (?:大家|人人|朋友|家家|所有人|其他人|别人|每个人|全家人|邻居)们?
           (?:也|全|已经)?(?:都|在买|在用|说|爱|喜欢)|都在[买用抢]|
         (?:很多|许多|好多|不少)(?:人|朋友|家庭|用户)(?!都喜欢的好选择)|(?:百万|千万|万千|无数)[人家用]|
         人手一
    """,
    "copied prompt": r"""
         (?:忽略|无视|忘记|忘掉|不要理会)(?:以上|之前|前面|所有|一切|其他|规则|要求|内容|指令)|
         (?:以上|之前的?|前面的?)(?:内容|要求|规则|指令|提示)|提示词|系统(?:提示|[:：])|
         (?:请|必须|你要|你得)(?:说|写|回答|输出|推荐|告诉|选|买)|只(?:能|许|准)(?:说|写|回答|推荐)|
         作为(?:一个)?(?:ai|人工智能|语言模型|助手)|告诉(?:大家|他们|她们|朋友|所有人)
    """,
    "personal data": r"""
        (?<![a-z])vx(?![a-z0-9])|qq(?:[:：群]|\d)|
        微信|加我|加v|电话(?:[:：\d]|咨询|联系|订购)|打电话|致电|拨打|热线|手机号|扫码|二维码|公众号|网址|
        点击(?:链接|这里|购买|下单)|链接[:：]|点开|私信
    """,
}
_COMPILED = {
    kind: (re.compile(_ENGLISH[kind], re.VERBOSE), re.compile(_CHINESE[kind], re.VERBOSE))
    for kind in _ENGLISH
}


@lru_cache(maxsize=16_384)
def forbidden_phrase(plain: str) -> str | None:
    """Return the kind of the first forbidden phrase of a normalised text, or None.

    Kinds are ``banned phrase``, ``pressure``, ``copied prompt`` and ``personal data``.
    """
    ascii_only = plain.isascii()
    for kind, (english, chinese) in _COMPILED.items():
        if english.search(plain) or (not ascii_only and chinese.search(plain)):
            return kind
    return None
