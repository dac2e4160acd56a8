"""Facts that can be stated, asked about and denied: frames with slots, no words of their own choosing.

A frame that starts with `*` never reaches the trainer and serves only to measure the model. `{slot}` is filled by
`language.py`; `{verb.past}` and `{verb.base}` are the two forms of one verb.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Family:
    """Ways to state one kind of fact and to ask about it.

    subjects: slots that differ between two facts of this family in one prompt, so that a question has one answer.
    questions: right as they stand; with the value of one slot exchanged the answer is no.
    yes, no: questions with that answer for any values of the slots.
    denials: statements after which every question of `questions` is answered no.
    asks: a question and the frame of its answer.
    """

    name: str
    subjects: tuple[str, ...]
    statements: tuple[str, ...]
    questions: tuple[str, ...] = ()
    yes: tuple[str, ...] = ()
    no: tuple[str, ...] = ()
    denials: tuple[str, ...] = ()
    asks: tuple[tuple[str, str], ...] = field(default=())


FAMILIES = (
    Family(
        "event",
        ("item",),
        statements=(
            "The {item} was {done} {when}",
            "The {item} was {done} in {city} {when}",
            "The {item} was {done} by {name} {when}",
            "{when}, the {item} was {done}",
            "The {item} has been {done} {when}",
            "The {item} got {done} {when}",
            "A {item} was {done} {when}",
            "*We know that the {item} was {done} {when}",
            "*{when}, people say, the {item} was {done}",
        ),
        questions=(
            "Was the {item} {done} {when}?",
            "Was the {item} {done}?",
            "Was a {item} {done} {when}?",
            "Did the {item} get {done} {when}?",
            "Has the {item} been {done}?",
            "Is it true that the {item} was {done} {when}?",
            "*Was it the {item} that was {done} {when}?",
            "*Can we say that the {item} was {done} {when}?",
        ),
        denials=(
            "The {item} was not {done} {when}",
            "The {item} was never {done}",
            "The {item} has not been {done}",
            "The {item} wasn't {done} {when}",
            "Nobody says the {item} was {done}",
            "*It is false that the {item} was {done} {when}",
        ),
        asks=(("When was the {item} {done}?", "{when}"), ("What was {done} {when}?", "the {item}"),
              ("What happened to the {item}?", "it was {done}")),
    ),
    Family(
        "plain event",
        ("item",),
        statements=("The {item} was {done}", "The {item} has been {done}", "The {item} is {done}", "{name} says the {item} was {done}"),
        questions=("Was the {item} {done}?", "Has the {item} been {done}?", "Is the {item} {done}?", "Did the {item} get {done}?",
                   "*Would you say the {item} was {done}?"),
        denials=("The {item} was not {done}", "The {item} has not been {done} yet", "The {item} is not {done}"),
    ),
    Family(
        "journey",
        ("name",),
        statements=(
            "{name} {move.past} to {city} {when}",
            "{name} {move.past} from {home} to {city} {when}",
            "{when} {name} {move.past} to {city}",
            "{name} {move.past} to {city} alone {when}",
            "*After a long wait, {name} {move.past} to {city} {when}",
            "*It was {when} that {name} {move.past} to {city}",
        ),
        questions=(
            "Did {name} {move.base} to {city} {when}?",
            "Did {name} {move.base} to {city}?",
            "Is it true that {name} {move.past} to {city}?",
            "Was it {name} who {move.past} to {city}?",
            "*Is {city} the place that {name} {move.past} to?",
        ),
        denials=("{name} did not {move.base} to {city} {when}", "{name} never {move.past} to {city}", "{name} didn't {move.base} to {city}"),
        asks=(("Where did {name} {move.base}?", "{city}"), ("Who {move.past} to {city}?", "{name}"),
              ("When did {name} {move.base} to {city}?", "{when}")),
    ),
    Family(
        "payment",
        ("name", "friend"),
        statements=(
            "{name} {deal.past} {friend} {n} {coin}",
            "{name} {deal.past} {friend} {n} {coin} {when}",
            "{when} {name} {deal.past} {friend} {n} {coin}",
            "{name} {deal.past} {n} {coin} to {friend}",
            "*As the records show, {name} {deal.past} {friend} {n} {coin}",
        ),
        questions=(
            "Did {name} {deal.base} {friend} {n} {coin}?",
            "Did {name} {deal.base} {friend}?" ,
            "Did {name} {deal.base} {n} {coin}?",
            "Is it true that {name} {deal.past} {friend} {n} {coin}?",
            "*Was it {friend} whom {name} {deal.past} {n} {coin}?",
        ),
        yes=("Did {name} {deal.base} {friend} more than {less} {coin}?", "Did {name} {deal.base} {friend} less than {more} {coin}?"),
        no=("Did {friend} {deal.base} {name} {n} {coin}?", "Did {friend} {deal.base} {name}?",
            "Did {name} {deal.base} {friend} more than {more} {coin}?", "Did {name} {deal.base} {friend} less than {less} {coin}?"),
        denials=("{name} did not {deal.base} {friend} {n} {coin}", "{name} never {deal.past} {friend} {n} {coin}"),
        asks=(("How much did {name} {deal.base} {friend}?", "{n} {coin}"), ("Who {deal.past} {friend} {n} {coin}?", "{name}")),
    ),
    Family(
        "deed",
        ("name", "item"),
        statements=(
            "{name} {act.past} the {item} {when}",
            "{name} {act.past} the {item}",
            "{name} {act.past} a {item} in {city}",
            "{when}, {name} {act.past} the {item}",
            "The {item} was for {friend}, but {name} {act.past} it",
            "*Without telling anyone, {name} {act.past} the {item}",
        ),
        questions=(
            "Did {name} {act.base} the {item}?",
            "Did {name} {act.base} a {item}?",
            "Was it {name} who {act.past} the {item}?",
            "Is it true that {name} {act.past} the {item}?",
            "*Is {name} the one who {act.past} the {item}?",
        ),
        denials=("{name} did not {act.base} the {item}", "{name} refused to {act.base} the {item}", "{name} didn't {act.base} the {item}",
                 "{name} forgot to {act.base} the {item}"),
        asks=(("Who {act.past} the {item}?", "{name}"), ("What did {name} {act.base}?", "the {item}")),
    ),
    Family(
        "state",
        ("item",),
        statements=(
            "The {item} is {state}",
            "The {item} is not {unstate}",
            "The {item} of {name} is {state}",
            "The {item} in {city} is {state}",
            "The {item} isn't {unstate}",
            "The {item} is still {state}",
            "*They told us that the {item} is {state}",
            "*Nowadays the {item} is {state}",
        ),
        questions=("Is the {item} {state}?", "Is it true that the {item} is {state}?", "Is the {item} still {state}?",
                   "*Do we know the {item} to be {state}?"),
        no=("Is the {item} {unstate}?", "Is it true that the {item} is {unstate}?"),
    ),
    Family(
        "color",
        ("item",),
        statements=("The {item} is {color}", "{name} has a {color} {item}", "The {item} was painted {color}", "The color of the {item} is {color}",
                    "*Every inch of the {item} is {color}"),
        questions=("Is the {item} {color}?", "Is the color of the {item} {color}?", "Is there a {color} {item}?", "*Would you call the {item} {color}?"),
        denials=("The {item} is not {color}", "The {item} isn't {color}"),
        asks=(("What color is the {item}?", "{color}"), ("Which color does the {item} have?", "{color}")),
    ),
    Family(
        "owner",
        ("name", "item"),
        statements=("{name} has a {color} {item}", "{name} owns a {color} {item}", "The {color} {item} belongs to {name}"),
        questions=("Does {name} have a {color} {item}?", "Does {name} own a {item}?", "Does the {color} {item} belong to {name}?",
                   "*Is {name} the owner of a {color} {item}?"),
        denials=("{name} does not have a {color} {item}", "{name} never owned a {color} {item}", "{name} doesn't own a {item}"),
        asks=(("Who has a {color} {item}?", "{name}"), ("Who owns the {item}?", "{name}")),
    ),
    Family(
        "match",
        ("team", "rival"),
        statements=(
            "The {team} beat the {rival} {n} to {low}",
            "The {team} beat the {rival} in {city} {when}",
            "The {rival} lost to the {team} {when}",
            "The {team} defeated the {rival}",
            "The {team} won against the {rival}",
            "{team} beat {rival} {n} to {low}",
            "The {team} won the match and the {rival} lost",
            "*In a close game the {team} beat the {rival}",
            "*The {rival} were beaten by the {team}",
        ),
        yes=("Did the {team} win?", "Did the {rival} lose?", "Did the {team} beat the {rival}?", "Did {team} beat {rival}?",
             "Did the {rival} lose to the {team}?", "Did the {team} defeat the {rival}?", "*Were the {team} the winners?"),
        no=("Did the {rival} win?", "Did the {team} lose?", "Did the {rival} beat the {team}?", "Did {rival} beat {team}?",
            "Did the {team} lose to the {rival}?", "Did the {rival} defeat the {team}?", "*Were the {rival} the winners?"),
        asks=(("Who won?", "the {team}"), ("Who lost to the {team}?", "the {rival}"), ("Who beat the {rival}?", "the {team}")),
    ),
    Family(
        "price",
        ("good",),
        statements=(
            "The price of {good} is {n} {coin}",
            "The price of {good} was {n} {coin} {when}",
            "{good} costs {n} {coin}",
            "{good} closed at {n} {coin} {when}",
            "{good} is trading at {n} {coin}",
            "*People in {city} pay {n} {coin} for {good}",
        ),
        questions=("Is the price of {good} {n} {coin}?", "Was the price of {good} {n} {coin}?", "Does {good} cost {n} {coin}?",
                   "Did {good} close at {n} {coin}?", "*Is {n} {coin} what {good} costs?"),
        yes=("Is the price of {good} above {less} {coin}?", "Is {good} above {less} {coin}?", "Did {good} close above {less} {coin}?",
             "Does {good} cost more than {less} {coin}?", "Is the price of {good} below {more} {coin}?", "Is {good} below {more}?",
             "Did {good} close below {more} {coin}?", "Does {good} cost less than {more} {coin}?", "Is {good} above {less}?"),
        no=("Is the price of {good} above {more} {coin}?", "Is {good} above {more} {coin}?", "Did {good} close above {more} {coin}?",
            "Does {good} cost more than {more} {coin}?", "Is the price of {good} below {less} {coin}?", "Is {good} below {less}?",
            "Did {good} close below {less} {coin}?", "Does {good} cost less than {less} {coin}?", "Is {good} above {more}?"),
        asks=(("What is the price of {good}?", "{n} {coin}"), ("How much does {good} cost?", "{n} {coin}")),
    ),
    Family(
        "weather",
        ("city",),
        statements=("It {rain.past} in {city} {when}", "{when} it {rain.past} in {city}", "In {city} it {rain.past} {when}",
                    "*The people of {city} say it {rain.past} {when}"),
        questions=("Did it {rain.base} in {city} {when}?", "Did it {rain.base} in {city}?", "Is it true that it {rain.past} in {city}?",
                   "*In {city}, did it {rain.base} {when}?"),
        denials=("It did not {rain.base} in {city} {when}", "It didn't {rain.base} in {city}", "It never {rain.past} in {city} {when}"),
        asks=(("Where did it {rain.base}?", "{city}"), ("When did it {rain.base} in {city}?", "{when}")),
    ),
    Family(
        "job",
        ("name",),
        statements=("{name} is a {job}", "{name} works as a {job} in {city}", "{name} was a {job} for {n} years", "Our {job} is called {name}",
                    "*For many years now {name} has been a {job}"),
        questions=("Is {name} a {job}?", "Does {name} work as a {job}?", "Is it true that {name} is a {job}?",
                   "*Is {job} the work that {name} does?"),
        denials=("{name} is not a {job}", "{name} never was a {job}", "{name} isn't a {job}"),
        asks=(("What is the job of {name}?", "{job}"), ("Who is a {job}?", "{name}")),
    ),
    Family(
        "home",
        ("name",),
        statements=("{name} lives in {city}", "{name} is in {city}", "{name} was born in {city}", "{name} has a house in {city}"),
        questions=("Is {name} in {city}?", "Does {name} live in {city}?", "*Is {city} where {name} lives?"),
        denials=("{name} does not live in {city}", "{name} is not in {city}"),
        asks=(("Where does {name} live?", "{city}"), ("Who lives in {city}?", "{name}")),
    ),
    Family(
        "date",
        ("event",),
        statements=(
            "The {event} starts at {hour} {when}",
            "The {event} is at {hour}",
            "The {event} begins at {hour} in {city}",
            "The {event} takes place in {city} {when}",
            "The {event} is {when}",
            "*Please note that the {event} starts at {hour} {when}",
        ),
        questions=("Does the {event} start at {hour}?", "Is the {event} at {hour}?", "Is the {event} in {city}?", "Is the {event} {when}?",
                   "Does the {event} take place in {city}?", "*Should I be at the {event} at {hour}?"),
        asks=(("When does the {event} start?", "at {hour}"), ("Where is the {event}?", "in {city}")),
    ),
    Family(
        "taste",
        ("name",),
        statements=("{name} likes {food}", "{name} eats {food} {when}", "{name} loves {food} more than anything", "{name} always has {food}",
                    "*There is nothing {name} likes more than {food}"),
        questions=("Does {name} like {food}?", "Is it true that {name} likes {food}?", "*Would {name} enjoy some {food}?"),
        denials=("{name} does not like {food}", "{name} hates {food}", "{name} never eats {food}", "{name} doesn't like {food}"),
        asks=(("What does {name} like?", "{food}"), ("Who likes {food}?", "{name}")),
    ),
    Family(
        "count",
        ("item",),
        statements=("There are {n} of the {item} in {city}", "The {item} has {n} parts", "The {item} weighs {n} pounds", "The {item} costs {n} {coin}"),
        questions=(),
        yes=("Is the number for the {item} {n}?", "Is the number for the {item} above {less}?", "Is the number for the {item} below {more}?"),
        no=("Is the number for the {item} above {more}?", "Is the number for the {item} below {less}?"),
        asks=(("What is the number for the {item}?", "{n}"),),
    ),
    Family(
        "vote",
        ("item",),
        statements=(
            "The {item} was approved with {n} votes",
            "The vote on the {item} passed",
            "A majority voted for the {item}",
            "The members accepted the {item}",
        ),
        yes=("Was the {item} approved?", "Did the {item} pass?", "Was the {item} accepted?"),
        no=("Was the {item} rejected?", "Did the {item} fail?", "Was the {item} refused?"),
    ),
    Family(
        "lost vote",
        ("item",),
        statements=(
            "The {item} was rejected with {n} votes",
            "The vote on the {item} failed",
            "A majority voted against the {item}",
            "The members refused the {item}",
        ),
        yes=("Was the {item} rejected?", "Did the {item} fail?", "Was the {item} refused?"),
        no=("Was the {item} approved?", "Did the {item} pass?", "Was the {item} accepted?"),
    ),
)
