"""The words the shipped model is taught: one list for each slot of the sentence frames in `language.py`.

Plain data. One word in `HELD_OUT_ONE_IN` of every open list never reaches the trainer and serves only to measure the
model (see `split`). Sentiment words cannot be held out that way, as nothing else would tell the model what they mean.
"""

from zlib import crc32

HELD_OUT_ONE_IN = 6


def held_out(word: str) -> bool:
    """Whether `word` (or a pair of words joined by a space) is reserved for measuring."""
    return crc32(word.encode()) % HELD_OUT_ONE_IN == 0


GOOD = """
good great excellent wonderful fantastic amazing awesome superb brilliant outstanding perfect lovely delightful
marvelous magnificent terrific fabulous splendid exceptional impressive remarkable incredible stunning beautiful
gorgeous charming pleasant enjoyable satisfying fun entertaining engaging captivating gripping fascinating thrilling
exciting inspiring uplifting touching moving heartwarming hilarious funny clever smart witty thoughtful elegant stylish
sleek solid sturdy durable reliable dependable robust fast quick snappy responsive smooth quiet comfortable cozy soft
clean spotless tidy fresh tasty delicious yummy flavorful juicy tender crisp friendly helpful polite courteous
attentive professional welcoming generous kind caring honest trustworthy efficient effective useful handy practical
convenient intuitive simple accurate precise sharp vivid bright crystal-clear affordable cheerful relaxing
refreshing memorable unforgettable flawless faultless first-rate top-notch world-class phenomenal sublime exquisite
stellar admirable commendable worthwhile rewarding valuable superior fine nice neat cool decent likeable lovable
adorable graceful masterful skillful polished refined innovative original creative imaginative powerful spectacular
breathtaking sensational divine heavenly magical dreamy tasteful balanced generous-sized prompt punctual speedy
seamless hassle-free problem-free painless flexible versatile lightweight well-made well-written well-built well-designed
rich creamy savory fragrant spacious airy sunny safe secure healthy nourishing satisfactory gratifying pleasing
compelling riveting absorbing insightful informative educational enlightening superlative ideal fair great-value
excellent-value bug-free user-friendly peaceful hospitable gracious warm-hearted patient knowledgeable competent
""".split()

BAD = """
bad terrible awful horrible poor dreadful atrocious abysmal appalling disgusting disappointing mediocre lousy pathetic
useless worthless pointless boring dull tedious bland tasteless flavorless stale soggy greasy overcooked undercooked
burnt cold rotten dirty filthy grimy smelly stinky noisy loud cramped uncomfortable painful slow sluggish laggy
unresponsive buggy glitchy broken defective faulty flimsy fragile cheap shoddy unreliable inconsistent inaccurate
confusing complicated clumsy awkward annoying irritating frustrating infuriating rude unfriendly unhelpful impolite
arrogant dismissive careless incompetent unprofessional dishonest deceptive misleading fake fraudulent overpriced
expensive costly ugly hideous tacky ridiculous laughable embarrassing shameful offensive insulting unacceptable
unbearable intolerable unpleasant unsatisfying underwhelming forgettable predictable shallow lifeless uninspired
uninteresting unoriginal unfunny cringeworthy messy sloppy chaotic disorganized unsafe dangerous hazardous toxic
harmful leaky rusty scratched cracked damaged dented torn worn-out outdated obsolete inferior subpar second-rate
third-rate amateurish clunky bulky heavy-handed impractical inconvenient ineffective inefficient inadequate insufficient
lacking depressing miserable dismal grim gloomy dreary sad weak feeble wobbly unstable sticky slimy moldy inedible
unusable unplayable unreadable unwatchable blurry grainy dim muffled scratchy itchy stuffy damp horrendous horrid nasty
vile gross revolting repulsive sickening lame stupid silly dumb mindless nonsensical incoherent absurd bloated
overrated overlong repetitive rushed unfinished incomplete late delayed neglected ignorant hostile aggressive
bitter sour rubbery watery tasteless-looking poorly-made badly-written badly-built unhygienic unsanitary
substandard deplorable disastrous catastrophic ghastly wretched crappy rubbish horrific unforgivable wasteful
""".split()

LIKED = """
loved liked enjoyed adored appreciated admired praised recommend recommended cherished treasured
""".split()
LIKE = "love like enjoy adore appreciate admire recommend treasure cherish value".split()
DISLIKED = """
hated disliked despised regretted detested loathed returned abandoned
""".split()
DISLIKE = "hate dislike despise regret detest loathe avoid".split()

GOOD_FEELING = """
happy pleased satisfied delighted impressed thrilled glad grateful thankful amazed excited content overjoyed
""".split()
BAD_FEELING = """
unhappy disappointed dissatisfied annoyed frustrated angry upset furious disgusted irritated sad bored let-down
embarrassed shocked appalled displeased
""".split()

GOOD_REMARKS = """
highly recommended|I would buy it again|will buy again|five stars|worth every penny|worth the money|money well spent
best purchase this year|I could not be happier|could not ask for more|exceeded my expectations|beyond my expectations
better than expected|better than I expected|works like a charm|works perfectly|does exactly what it should|a real gem
a joy to use|a pleasure from start to finish|a must have|a must see|a masterpiece|a bargain|a great deal|two thumbs up
thumbs up|ten out of ten|10/10|5/5|5 stars|I will be back|we will come back|cannot wait to return|I cannot complain
no complaints at all|nothing to complain about|no problems whatsoever|no issues so far|never let me down
never disappoints|it did not disappoint|made my day|put a smile on my face|I am a fan|keep up the good work|well done
thank you so much|hats off to the team|could not put it down|I want more|I laughed out loud|the best I have ever had
best ever|the best of the year|nothing but praise|my new favorite|one of my favorites|everyone should try it
you will not regret it|do not hesitate to buy it|a solid choice|great value for money|top quality|just perfect
simply the best|it was a success|what a treat|what a joy|such a delight|it blew me away|blown away|I am in love with it
still going strong after a year|it arrived early|arrived ahead of time|they fixed it at once|fixed my problem in minutes
they went out of their way to help|money back without any fuss|the kids loved it|everybody loved it|it won me over
I would stay here again|we would go again|I would watch it again|I would gladly pay more|it saved my day|it saved me hours
it made my life easier|I use it every day|looks even better in person|cannot recommend it enough|can not fault it
it has never failed me|not a single problem|not one complaint|it was not bad at all|not too shabby|it is a winner
""".replace("\n", "|").strip("|").split("|")

BAD_REMARKS = """
not recommended|I would not buy it again|never again|one star|zero stars|not worth the money|waste of money
a waste of time|a complete waste|worst purchase this year|I could not be more disappointed|I expected more
below my expectations|did not meet my expectations|worse than expected|worse than I expected|stopped working
it does not work|it broke at once|broke after two days|fell apart|fell apart within a week|a real letdown|a disaster
a nightmare to use|a pain from start to finish|stay away|avoid at all costs|do not buy this|do not bother|do not go there
a rip-off|a scam|two thumbs down|thumbs down|zero out of ten|0/10|1/5|1 star|I will not be back|we will not come back
I want my money back|I want a refund|asked for a refund|nothing but problems|nothing but trouble|full of bugs
many complaints|it let me down|let me down again|it was a letdown|ruined my day|ruined our evening|made me sick
I am not a fan|save your money|shame on them|nobody answered my emails|they never replied|they ignored me
support never answered|could not finish it|I fell asleep|I walked out|the worst I have ever had|worst ever
the worst of the year|nothing good to say|I regret buying it|you will regret it|look elsewhere|a poor choice
far too expensive|poor quality|just awful|simply the worst|it was a failure|what a mess|what a joke|such a pity
it arrived late|arrived broken|it never arrived|it came damaged|parts were missing|they lost my order
they refused to help|no refund and no apology|the kids hated it|everybody hated it|it was not good at all
I would not stay here again|we would not go again|I would never watch it again|it cost me hours|it failed after a day
it made everything worse|it keeps crashing|it crashed twice|I threw it away|I sent it back|it looks nothing like the picture
cannot recommend it to anyone|I can not recommend it|it never worked|not a single thing worked|it fails every time
it left a bad taste|I was overcharged|they charged me twice|too many problems|it is a loser
""".replace("\n", "|").strip("|").split("|")

GOOD_ACTS = """
works well|works as expected|works flawlessly|looks great|feels great|lasts for ages|does the job|was worth it
exceeded expectations|never fails|arrived early|was a success|made us smile|was a delight|was a pleasure|shines
impressed everyone|was better than expected|has improved a lot|got everything right|deserves praise|saved the day
won me over|was a real treat|runs smoothly|runs without a hitch|holds up well|was spot on|is a joy
""".replace("\n", "|").strip("|").split("|")

BAD_ACTS = """
broke|broke after a week|stopped working|does not work|never worked|fell apart|looks cheap|feels cheap|failed
failed again|keeps failing|keeps crashing|crashed|was a letdown|was a mess|was a disaster|was worse than expected
was not worth it|has gone downhill|got everything wrong|let us down|arrived damaged|arrived late|never arrived
needs improvement|lost its appeal|ruined everything|made us angry|was a nightmare|made me sick|leaks|smells
""".replace("\n", "|").strip("|").split("|")

TOPICS = """
food|service|staff|room|hotel|bed|breakfast|dinner|soup|pizza|burger|coffee|tea|cake|bread|wine|menu|waiter|waitress|chef
restaurant|cafe|bar|location|view|pool|bathroom|shower|lobby|movie|film|plot|story|acting|script|ending|soundtrack|music
director|cast|show|series|episode|book|novel|writing|author|chapter|game|graphics|controls|level|phone|screen|battery
camera|laptop|keyboard|mouse|charger|cable|speaker|sound|headphones|tablet|printer|monitor|software|app|update|website
interface|support|delivery|packaging|box|price|quality|design|color|size|fabric|shirt|jacket|dress|shoes|boots|bag|watch
chair|table|sofa|mattress|pillow|blanket|lamp|vacuum|blender|kettle|oven|fridge|toaster|pan|knife|toy|puzzle|bike|car
engine|seat|tire|garage|flight|crew|train|bus|taxi|driver|tour|guide|museum|park|beach|concert|band|singer|stage|theater
course|teacher|lesson|class|gym|trainer|doctor|nurse|clinic|dentist|haircut|salon|perfume|cream|shampoo|soap|razor|gift
garden|tool|drill|hammer|tent|backpack|wallet|bank|wallet app|exchange|contract|token|node|market|store|shop|manager
owner|seller|product|item|order|apartment|house|neighborhood|party|festival|atmosphere|lighting|dessert|sauce|steak|fish
salad|sandwich|ice cream|juice|beer|portion|buffet|parking|elevator|wifi|air conditioning|customer service|warranty
manual|remote|television|radio|router|drone|helmet|glove|scarf|umbrella|suitcase|notebook|pen|backup|plugin|podcast|album
""".replace("\n", "|").strip("|").split("|")

NAMES = """
Anna Ben Carla David Emma Frank Grace Henry Iris Jack Karen Leo Maria Nick Olivia Paul Quinn Rosa Sam Tina Uma Victor
Wendy Xavier Yara Zoe Alice Bob Carol Dan Eve Felix Gina Hugo Ines Jonas Kate Liam Mia Noah Otto Peter Rachel Simon
Tom Ursula Vera Walter Yusuf Zara Adam Bella Chris Diana Eric Fiona George Hannah Ivan Julia Kevin Laura Marcus Nina Oscar
Petra Robert Sara Thomas Valerie William Alex Brian Clara Dennis Elena Fred Greta Harold Isabel James Kim Linda Martin
Nora Omar Patrick Ruth Steven Theresa Vincent Amir Bianca Carlos Dora Edgar Farah Gavin Helen Igor Jenny Karim Lucy Mark
Naomi Oliver Pablo Rita Stella Tariq Viola Wanda Aisha Boris Celia Dylan Esther Flora Gloria Hector Irene John Mary
Michael Susan Charlie Sophie Daniel Emily Matthew Jane Joe Lisa Mike Amy
""".split()

CITIES = """
Paris London Berlin Rome Madrid Vienna Oslo Prague Dublin Lisbon Athens Warsaw Budapest Helsinki Stockholm Copenhagen
Brussels Amsterdam Zurich Geneva Munich Hamburg Milan Naples Venice Florence Barcelona Seville Porto Lyon Turin Boston
Chicago Denver Dallas Houston Austin Seattle Portland Miami Atlanta Toronto Montreal Vancouver Tokyo Osaka Kyoto Seoul
Beijing Shanghai Mumbai Delhi Cairo Lagos Nairobi Sydney Melbourne Perth Auckland Lima Bogota Quito Santiago Havana
Moscow Kiev Riga Tallinn Vilnius Sofia Bucharest Belgrade Zagreb Tunis Dakar Accra Manila Bangkok Hanoi Jakarta Istanbul
Ankara Dubai Doha Riyadh Tehran Baghdad Kabul York Leeds Bristol Oxford Cambridge Manchester Glasgow Edinburgh Cardiff
""".split()

ITEMS = """
parcel|letter|package|invoice|report|book|contract|painting|ticket|laptop|phone|bicycle|car|truck|ship|container|coffee
wheat|statue|bridge|house|roof|window|door|engine|server|website|program|update|patch|bill|loan|payment|deposit|refund
order|cake|table|chair|lamp|box|crate|barrel|bag|key|ring|watch|camera|bottle|map|document|passport|visa|permit|license
proposal|motion|budget|law|treaty|tax return|application|form|survey|exam|test|homework|essay|article|song|film|video
photo|poster|flag|medal|trophy|prize|machine|robot|drone|satellite|rocket|tank|pump|pipe|wall|fence|gate|road|tunnel
tower|station|school|library|museum|hospital|factory|shop|garden|field|tree|boat|train|bus|plane|piano|guitar|drum
carpet|mirror|clock|candle|vase|jar|basket|blanket|shirt|coat|dress|hat|token|block|wallet|vault|grant|bond|ledger
""".replace("\n", "|").strip("|").split("|")

DONE = """
delivered shipped sold bought repaired painted cleaned opened closed built destroyed moved stolen found lost returned
signed approved rejected cancelled paid printed published deleted tested inspected sent received replaced removed
installed finished started stopped damaged checked packed loaded stored burned washed weighed measured registered
updated released recalled ordered accepted refused confirmed
""".split()

MOVES = """
went go|traveled travel|moved move|flew fly|drove drive|walked walk|returned return|sailed sail|ran run|came come
""".replace("\n", "|").strip("|").split("|")

DEALS = """
paid pay|owed owe|gave give|sent send|lent lend|offered offer|promised promise
""".replace("\n", "|").strip("|").split("|")

ACTIONS = """
bought buy|sold sell|found find|lost lose|repaired repair|painted paint|opened open|closed close|broke break|built build
stole steal|moved move|cleaned clean|signed sign|wrote write|read read|carried carry|returned return|ordered order
received receive|delivered deliver|washed wash|checked check|borrowed borrow|designed design
""".replace("\n", "|").strip("|").split("|")

COLORS = "red blue green yellow black white brown grey orange purple pink silver gold".split()

OPPOSITES = """
open closed|full empty|hot cold|clean dirty|wet dry|on off|safe unsafe|old new|big small|heavy light|locked unlocked
broken intact|alive dead|awake asleep|rich poor|early late|public private|cheap expensive|visible hidden|active inactive
complete incomplete|legal illegal|online offline|available unavailable|valid invalid|loud quiet|tall short|wide narrow
soft hard|fast slow|strong weak|present absent|free occupied|tight loose|deep shallow|thick thin|sharp blunt|young old
""".replace("\n", "|").strip("|").split("|")

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
MOMENTS = """
yesterday|today|last week|last month|last year|this morning|last night|at noon|at midnight|this week|two days ago
""".replace("\n", "|").strip("|").split("|")

JOBS = """
doctor teacher lawyer farmer baker driver pilot nurse sailor singer painter writer judge plumber carpenter mechanic
engineer chemist dentist gardener butcher tailor barber waiter cook soldier scientist student banker trader miner clerk
librarian journalist actor dancer photographer builder firefighter detective shepherd fisherman blacksmith potter
""".split()

FOODS = """
apples bananas cheese bread rice pasta soup fish chicken beef tea coffee milk juice chocolate honey nuts grapes cherries
oranges lemons potatoes carrots onions tomatoes beans peas mushrooms olives eggs butter yogurt cake pancakes pizza
noodles salad garlic pepper berries plums peaches pears melons spinach cabbage
""".split()

TEAMS = """
Lions Tigers Bears Eagles Hawks Wolves Sharks Bulls Rangers Giants Pirates Rovers Knights Kings Dragons Falcons Panthers
Raiders Warriors Rockets Comets Saints Stars Devils Wizards Hornets Foxes Badgers Ravens Vikings Titans Spartans Ducks
Cobras Stallions Royals Pilots Miners Cowboys
""".split()

GOODS = """
wheat corn rice coffee gold silver copper oil gas sugar cotton cocoa steel timber wool salt milk butter water electricity
bitcoin ether coal iron zinc tin lead nickel paper rubber soy barley oats beef pork fish tea bread
""".split()

COINS = "dollars euros coins tokens pounds francs".split()

EVENTS = """
meeting|concert|game|exam|party|auction|sale|election|race|flight|movie|play|lecture|wedding|trial|vote|conference|class
ceremony|festival|match|show|dinner|interview|tour|parade|workshop|webinar|launch|hearing
""".replace("\n", "|").strip("|").split("|")

FILLERS = """
We went there on {day}|I bought it in {month}|My friend {name} came along|It was a {day} in {month}|I live in {city}
We stayed for {n} days|I ordered it from a shop in {city}|{name} told me about it|This was a gift for {name}
We were a group of {n}|I paid {n} {coin}|It is {color}|We had the {food}|I have had it for {n} months
I use it at work|We sat outside|I read about it online|It came in a {color} box|We drove there from {city}
I am a {job}|My sister lives nearby|It was our first visit|I tried it twice|Here is what I think|Let me explain
I was there for work|We arrived in the evening|I picked the {color} one|There are {n} of them|It was for my birthday
""".replace("\n", "|").strip("|").split("|")

# Words without sentiment, for reviews that follow no frame at all.
NEUTRAL = """
the a this that it we they he she you my our their and then when while with from into about over after before there here
house street door window week month morning evening train people family brother sister mother father friend friends
office school city village country river mountain road corner table shelf kitchen paper picture letter number part side
place thing things way time day year hour minute second first next last other another same both some many few all
said asked told thought saw heard looked took gave made came left put kept turned walked talked waited called tried used
usually often sometimes later again together already almost around between because since until where who which
""".split()
