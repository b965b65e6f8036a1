"""The plots of the embedded model's training stories, as data; `stories.py` tells them.

A plot is a tuple of sentences. `[a|b]` is a choice that is made anew at each place; `{slot}` is
bound once per story, so that the same person, pet or toy runs through it; and a sentence that opens
with `?` may be left out. All sentences are our own. Whatever changes here changes the corpus: train
the tokenizer and the model anew.
"""

INTROS = (
    "Once upon a time there was a {adj} {kid} named {name}.",
    "There was once a {adj} {kid} called {name}.",
    "{name} was a {adj} {kid} who lived near the {place}.",
    "{name} lived in a [small|big|white] house by the {place}.",
    "{name} and {other} were [good|best|old] friends.",
)
CLOSERS = (
    "It was a [good|lovely|fine|wonderful] day.",
    "{name} was [very happy|happy|glad].",
    "{name} smiled.",
    "After that {name} felt much better.",
    "{name} never forgot that day.",
    "The end.",
)
# The slots are those that `stories._bind` draws; any other name is a KeyError when a story is made.
PLOTS = (
    (
        "{when} {name} could not find {his} {colour} {toy}.",
        "{He} looked {spot1}, but it was not there.",
        "?{He} looked {spot2} too, but [it was not there|there was nothing].",
        "Then {other} came to help.",
        "{OHe} looked {spot3}, and there was the {toy}!",
        (
            "{name} [thanked {other}, and they played until dinner"
            "|was so glad that {he} gave {other} a big hug]."
        ),
    ),
    (
        "{when} {name} took {his} {colour} kite to the {place}.",
        "The wind was strong, and the kite flew [high|up into the sky].",
        "Then the string broke, and the kite [fell into|landed in] a tall tree.",
        "?{name} was sad and sat down on the grass.",
        "{other} saw it and climbed up the tree.",
        "Soon {ohe} came down with the kite in {ohis} hand.",
        "{name} tied a new string to the kite, and [it flew again|they flew it together].",
    ),
    (
        "{when} {name} and {other} went to the {place} with a basket of {fruit}.",
        "They sat [down on the grass|under a big tree] and began to eat.",
        "Then dark clouds came, and it began to rain.",
        "They ran to [an old barn|a small hut] and waited there.",
        "When the rain stopped, they saw a rainbow [over the {place}|in the sky].",
        (
            "They [shared the last of the {fruit}|ate the rest of the {fruit}]"
            " and walked home together."
        ),
    ),
    (
        "{when} {name} wanted to bake a cake for {his} {elder}.",
        "{He} mixed flour, eggs and [milk|butter|sugar] in a big bowl.",
        "{He} put the cake in the oven and waited.",
        "?Soon the whole house smelled [sweet|good].",
        "But {he} forgot the time, and the cake burned a little.",
        "{name} was [sad|worried], but {his} {elder} only [smiled|laughed].",
        '"It tastes [good|sweet|lovely]," {ehe} said, and they ate it all.',
    ),
    (
        "{when} {name} planted a small seed in the garden.",
        "Every [day|morning] {he} gave it some water.",
        "For a long time nothing happened, but {he} did not give up.",
        "Then one {daytime} {he} saw a [tiny|small] green leaf.",
        "?The plant grew [taller|bigger] every day.",
        "In the summer it had {colour} flowers, and {name} gave the first one to {his} {elder}.",
    ),
    (
        "{when} {name} heard a [soft|strange] sound near the {place}.",
        "It was a [small|little] {pet} that was [cold and wet|hungry|all alone].",
        "{name} wrapped it in {his} [coat|scarf] and took it home.",
        "{He} gave it some food and made it a bed in a box.",
        "?{His} {elder} said that {he} could keep it.",
        "{name} called it {petname}, and [they became best friends|it followed {him} everywhere].",
    ),
    (
        "{name} had a {colour} {toy} that {he} loved very much.",
        "{when} it fell [on the floor|down the stairs] and broke.",
        "{name} began to cry.",
        "{His} {elder} brought [some glue|a box of tools] and sat down beside {him}.",
        "They worked [slowly|for an hour|until dinner], and at last the {toy} was as good as new.",
        '"Thank you," said {name}, and {he} [smiled|hugged {his} {elder}].',
    ),
    (
        "It was {name}'s first day at a new school.",
        "{He} did not know anyone, so {he} sat alone [under a tree|by the window].",
        "Then a {okid} named {other} [came over|walked up to {him}] and said hello.",
        '"Do you want to [play|see my {toy}|share my {fruit}]?" {ohe} asked.',
        "{name} said yes, and they [played|talked] until the bell rang.",
        "After that {name} [was not afraid anymore|had a friend and liked the new school].",
    ),
    (
        "{when} {name} walked far into the forest to look for [berries|flowers].",
        "Soon {he} did not know the way home.",
        "?It was getting dark, and {he} was [afraid|cold and tired].",
        "Then {he} heard the sound of the river.",
        "{name} knew that the river ran past {his} house, so {he} followed it.",
        "After a while {he} saw a light in the window.",
        "{His} {elder} gave {him} [a bowl of hot soup|a big hug].",
    ),
    (
        (
            "[Once upon a time there was a {adj} {wild}|There was once a {wild}"
            "|A {adj} {wild} lived near the {place}]."
        ),
        "The {wild} had a basket of {fruit} and would not share.",
        "{when} a {small} came by and asked for some.",
        '"No," said the {wild}. "They are all mine."',
        "The next day the {wild} fell into a deep hole and could not get out.",
        "The {small} heard it and let down a [rope|long branch].",
        '"I am sorry," said the {wild}, and it gave the {small} half of the {fruit}.',
    ),
    (
        "{when} a {wild} and a {small} wanted to see who was faster.",
        "They ran from the old tree to the {place}.",
        "The {wild} ran fast, but then it stopped to [sleep|rest|eat some {fruit}].",
        "The {small} was slow, but it did not stop.",
        "When the {wild} looked up, the {small} was already at the {place}.",
        '"You win," said the {wild}, and they both laughed.',
    ),
    (
        "{when} {name} found a small bird with a hurt wing.",
        "{He} carried it home in {his} [hat|hands].",
        "{His} {elder} showed {him} how to [feed it|care for it].",
        "Every day the bird grew a little stronger.",
        "After two weeks it could fly again.",
        "{name} opened the window, and the bird flew away into the [blue sky|morning sun].",
        "?Every spring it came back and sang outside {his} window.",
    ),
    (
        "It snowed all night, and in the morning the {place} was white.",
        "{name} and {other} put on warm coats and ran outside.",
        "They made a [big|tall|round] snowman with a carrot for a nose.",
        "?{name} gave it {his} {colour} scarf.",
        "Then the sun came out, and the snowman began to melt.",
        '{name} was sad, but {other} said, "We can make a new one when it snows again."',
        "They went inside and drank hot [tea|milk].",
    ),
    (
        "{when} {name} went to the market to buy some {item}.",
        "On the way home {he} met an old man who was very hungry.",
        "{name} gave him half of the {item}.",
        "When {he} came home, {he} told {his} {elder} what had happened.",
        '"You did the right thing," {ehe} said.',
        "They shared the rest of the {item} for dinner.",
    ),
    (
        "{when} {name} could not sleep because of a strange noise.",
        "Something went tap, tap, tap at the window.",
        "{He} hid under the blanket and [waited|held {his} {toy}].",
        "Then {he} took a lamp and went to look.",
        "It was only [a branch in the wind|the cat|the rain].",
        "{name} laughed, went back to bed and slept until morning.",
    ),
    (
        "It was {name}'s birthday, but nobody seemed to remember it.",
        "{He} walked alone to the {place} and felt sad.",
        "When {he} came home, the house was dark.",
        '{He} opened the door, and everyone shouted, "Happy birthday!"',
        "{other} gave {him} a {colour} {toy}, and {his} {elder} brought a big cake.",
        "?It was the best birthday of all.",
    ),
    (
        "{when} {name} and {other} built a castle of sand on the beach.",
        "It had [four towers|a high wall] and a {colour} flag.",
        "Then a big wave came and washed it away.",
        "{other} was [angry|sad], but {name} had an idea.",
        '"Let us build it far from the water," {he} said.',
        "They worked until the sun went down, and this time the castle stood.",
    ),
    (
        "{when} {name} made a small boat of [paper|wood] and put it in the river.",
        "The water was fast, and the boat went under the bridge.",
        "{name} ran after it, but {he} could not catch it.",
        "{other} was fishing there and caught the boat with a net.",
        '"Is this yours?" {ohe} asked.',
        "After that they [played with the boat|went to the river] together every day.",
    ),
    (
        "{when} {name} found an old book about [the sea|the stars|dragons|trains].",
        "Inside it was a map of the {place}.",
        "{name} showed it to {other}, and they followed the map together.",
        "They dug [under a big stone|near an old tree] and found a box full of coins.",
        "They gave the box to {his} {elder}, who [was very proud of them|could not believe it].",
    ),
    (
        "{when} {name} woke up late and missed the bus.",
        "{He} had to walk to school [alone|in the rain].",
        "On the way {he} found a {colour} bag beside the road.",
        "{He} took it to school and gave it to the teacher.",
        "The bag belonged to {other}, who had looked for it everywhere.",
        '"I am glad that you missed the bus," {other} said with a smile.',
    ),
    (
        "{when} {name} went to the lake with {his} {elder} to catch fish.",
        "They sat in the boat and waited for a long time.",
        "Then the line moved, and {name} pulled [hard|with both hands].",
        "Up came an old boot!",
        "They laughed so loudly that the ducks flew away.",
        "They had no fish for dinner, but they had a good story to tell.",
    ),
    (
        "{when} {name} wanted to learn to play the [flute|piano|drum].",
        "At first it sounded bad, and the cat ran away.",
        "{He} played every day after school.",
        "Little by little the sound grew [better|sweeter].",
        "In the spring {he} played for the whole [school|village].",
        "Everyone clapped, and {his} {elder} was very proud.",
    ),
    (
        "{name} lived on a farm with many sheep.",
        "{when} the gate was open, and one lamb was gone.",
        "{name} looked [in the barn|behind the house], but it was not there.",
        "Then the dog ran to the river and began to bark.",
        "The lamb was stuck in the mud.",
        "{name} and the dog pulled it out and brought it home.",
        "?That evening {he} counted the sheep twice.",
    ),
    (
        "Once upon a time there was a {adj} {small} who wanted to see the sea.",
        "{when} it left home and walked along the river.",
        "On the way it met a {wild} with a thorn in its foot.",
        "The {small} pulled out the thorn, and the {wild} was [glad|very thankful].",
        '"Climb on my back," said the {wild}, and it carried the {small} [all day|over the hill].',
        "In the evening they [stood|sat] on the beach and looked at the [waves|blue water].",
    ),
)
