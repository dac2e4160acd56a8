# ruff: noqa: SIM905
"""The words of the templates in `language.py`. Plain data."""

GOOD = tuple(
    """
good great excellent wonderful fantastic amazing awesome superb brilliant outstanding perfect lovely delightful
marvelous magnificent terrific fabulous splendid exceptional impressive remarkable incredible stunning beautiful
gorgeous charming pleasant enjoyable satisfying fun entertaining engaging captivating gripping fascinating thrilling
exciting inspiring uplifting touching moving heartwarming hilarious funny clever smart witty thoughtful elegant
stylish sleek solid sturdy durable reliable dependable robust fast quick snappy responsive smooth quiet comfortable
cozy clean spotless tidy fresh tasty delicious yummy flavorful juicy tender crisp friendly helpful polite courteous
attentive professional welcoming generous kind caring honest trustworthy efficient effective useful handy practical
convenient intuitive simple accurate precise sharp vivid bright affordable cheerful relaxing refreshing memorable
unforgettable flawless faultless phenomenal
""".split()
)
BAD = tuple(
    """
bad terrible awful horrible poor dreadful atrocious abysmal appalling disgusting disappointing mediocre lousy
pathetic useless worthless pointless boring dull tedious bland tasteless flavorless stale soggy greasy overcooked
undercooked burnt rotten dirty filthy grimy smelly stinky noisy loud cramped uncomfortable painful slow sluggish
laggy unresponsive buggy glitchy broken defective faulty flimsy fragile cheap shoddy unreliable inconsistent
inaccurate confusing complicated clumsy awkward annoying irritating frustrating infuriating rude unfriendly
unhelpful impolite arrogant dismissive careless incompetent unprofessional dishonest deceptive misleading fake
fraudulent overpriced expensive costly ugly hideous tacky ridiculous laughable embarrassing shameful offensive
insulting unacceptable unbearable intolerable unpleasant unsatisfying underwhelming forgettable predictable shallow
lifeless uninspired uninteresting unoriginal unfunny cringeworthy messy sloppy chaotic disorganized unsafe cold
""".split()
)
LIKED = tuple("loved liked enjoyed adored recommend".split())
LIKE = tuple("love like enjoy recommend".split())
HATED = tuple("hated disliked regretted returned detested".split())
HATE = tuple("hate dislike regret detest".split())
CLOSING_GOOD = (
    "We will come back",
    "Highly recommended",
    "Five stars",
    "I would buy it again",
    "Thank you",
    "Well done",
    "I am happy",
    "Everyone should try it",
    "It was worth the money",
    "Best ever",
)
CLOSING_BAD = (
    "Never again",
    "Not recommended",
    "One star",
    "I want my money back",
    "Do not buy it",
    "Avoid it",
    "I am disappointed",
    "Stay away",
    "It was a waste of money",
    "Worst ever",
)
TOPICS = tuple(
    """
food service staff room hotel bed breakfast dinner soup pizza burger coffee tea cake bread wine menu waiter waitress
chef restaurant cafe location view pool bathroom shower lobby movie film plot story acting script ending soundtrack
music director cast show series episode book novel writing author chapter game graphics controls level phone screen
battery camera laptop keyboard mouse charger cable speaker sound headphones tablet printer monitor software app
update website interface support
""".split()
)
NAMES = tuple(
    """
Anna Ben Carla David Emma Frank Grace Henry Iris Jack Karen Leo Maria Nick Olivia Paul Quinn Rosa Sam Tina Uma
Victor Wendy Xavier Yara Zoe Alice Bob Carol Dan Eve Felix Gina Hugo Ines Jonas Kate Liam Mia Noah Otto Peter Rachel
Simon Tom Ursula Vera Walter Yusuf Zara Adam Bella Chris Diana Eric Fiona George Hannah Ivan Julia Kevin Laura
Marcus Nina
""".split()
)
CITIES = tuple(
    """
Paris London Berlin Rome Madrid Vienna Oslo Prague Dublin Lisbon Athens Warsaw Budapest Helsinki Stockholm
Copenhagen Brussels Amsterdam Zurich Geneva Munich Hamburg Milan Naples Venice Florence Barcelona Seville Porto Lyon
Turin Boston Chicago Denver Dallas Houston Austin Seattle Portland Miami
""".split()
)
FOODS = tuple(
    """
apples bananas cheese bread rice pasta soup fish chicken beef tea coffee milk juice chocolate honey nuts grapes
cherries oranges lemons potatoes carrots onions tomatoes beans peas mushrooms olives eggs butter yogurt cake
pancakes pizza noodles
""".split()
)
THINGS = tuple(
    """
parcel letter package book contract painting ticket laptop bicycle truck statue bridge key ring map document
passport clock vase mirror piano guitar carpet lamp chair trophy robot drone token invoice
""".split()
)
SPOTS = tuple(
    """
box drawer garage garden kitchen office cellar attic safe bag hall car station museum library shop
""".split()
)
GAMES = tuple("race match election prize auction lottery tournament cup debate contest final medal".split())
COLOURS = tuple("red blue green yellow black white brown grey orange purple".split())
DAYS = tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split())
TEAMS = tuple(
    """
Lions Tigers Bears Eagles Hawks Wolves Sharks Bulls Rangers Giants Pirates Rovers Knights Kings Dragons Falcons
Panthers Raiders Warriors Rockets Comets Saints Stars Devils
""".split()
)
