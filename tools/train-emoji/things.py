"""The things that the model is to draw well: a few hundred frequent nouns,
each with the emoji that show it. Every other emoji is background: it widens
what the ControlNets see, and is drawn less often in training.

One line: the noun as people type it (other nouns for the same after |), then
the emoji. Several emoji are several looks of one thing."""

TABLE = """
apple 🍎🍏
pear 🍐
orange|tangerine 🍊
lemon 🍋
banana 🍌
watermelon 🍉
grapes 🍇
strawberry 🍓
cherries|cherry 🍒
peach 🍑
pineapple 🍍
kiwi 🥝
coconut 🥥
tomato 🍅
eggplant 🍆
avocado 🥑
potato 🥔
carrot 🥕
corn 🌽
pepper 🌶
cucumber 🥒
broccoli 🥦
onion 🧅
garlic 🧄
mushroom 🍄
peanuts 🥜
chestnut 🌰
bread 🍞
croissant 🥐
pretzel 🥨
pancakes 🥞
cheese 🧀
meat 🍖
chicken leg 🍗
bacon 🥓
hamburger|burger 🍔
french fries|fries 🍟
pizza 🍕
hot dog 🌭
sandwich 🥪
taco 🌮
egg 🥚
fried egg 🍳
popcorn 🍿
ice cream 🍨
ice cream cone 🍦
doughnut|donut 🍩
cookie 🍪
birthday cake 🎂
cake 🍰
cupcake 🧁
pie 🥧
chocolate bar 🍫
candy 🍬
lollipop 🍭
honey pot 🍯
milk 🥛
cup|cup of coffee|coffee cup ☕
teacup|cup of tea 🍵
wine glass|wine 🍷
cocktail 🍸
beer mug|beer 🍺
bottle 🍾🍼
fork and knife 🍴
spoon 🥄
knife 🔪
cat 🐈
cat face|cat 🐱
dog 🐕
dog face|dog 🐶
poodle 🐩
wolf 🐺
fox 🦊
lion 🦁
tiger 🐯🐅
horse 🐴🐎
unicorn 🦄
zebra 🦓
deer 🦌
cow 🐮🐄
ox 🐂🐃
pig 🐷🐖
sheep 🐑
ram 🐏
goat 🐐
camel 🐪🐫
giraffe 🦒
elephant 🐘
rhinoceros 🦏
mouse 🐭🐁
rat 🐀
hamster 🐹
rabbit 🐰🐇
squirrel 🐿
hedgehog 🦔
bat 🦇
bear 🐻
koala 🐨
panda 🐼
kangaroo 🦘
chicken 🐔
rooster 🐓
chick 🐤🐥🐣
bird 🐦
penguin 🐧
dove 🕊
eagle 🦅
duck 🦆
swan 🦢
owl 🦉
parrot 🦜
peacock 🦚
frog 🐸
crocodile 🐊
turtle 🐢
lizard 🦎
snake 🐍
dragon 🐉🐲
dinosaur 🦕🦖
whale 🐳🐋
dolphin 🐬
fish 🐟
tropical fish|fish 🐠
blowfish 🐡
shark 🦈
octopus 🐙
crab 🦀
lobster 🦞
shrimp 🦐
squid 🦑
shell 🐚
snail 🐌
butterfly 🦋
bug|caterpillar 🐛
ant 🐜
bee 🐝
ladybug|lady beetle 🐞
spider 🕷
scorpion 🦂
monkey 🐒🐵
gorilla 🦍
paw prints 🐾
flower|blossom 🌼🌸
bouquet 💐
rose 🌹
sunflower 🌻
hibiscus 🌺
tulip 🌷
seedling 🌱
tree 🌳
pine tree|evergreen tree 🌲
palm tree 🌴
christmas tree 🎄
cactus 🌵
clover 🍀☘
leaf 🍃🍂
maple leaf 🍁
house 🏠🏡
hut 🛖
castle 🏰🏯
church ⛪
mosque 🕌
hospital 🏥
school 🏫
factory 🏭
bank 🏦
hotel 🏨
office building 🏢
tent ⛺
bridge 🌉
tower 🗼
fountain ⛲
stadium 🏟
mountain ⛰🏔
volcano 🌋
island 🏝
desert 🏜
camping 🏕
ferris wheel 🎡
circus tent 🎪
car|automobile 🚗🚙
taxi 🚕🚖
police car 🚓🚔
bus 🚌🚍
trolleybus 🚎
ambulance 🚑
fire engine 🚒
truck|lorry 🚚🚛
racing car 🏎
tractor 🚜
motorcycle 🏍
scooter 🛵
bicycle|bike 🚲
train 🚆🚂
tram 🚊
airplane|plane ✈
helicopter 🚁
rocket 🚀
flying saucer 🛸
satellite 🛰
boat|speedboat 🚤
sailboat ⛵
ship 🚢
canoe 🛶
anchor ⚓
traffic light 🚦🚥
stop sign 🛑
sun ☀
sun with face|sun 🌞
moon|crescent moon 🌙
full moon 🌕
star ⭐
glowing star|star 🌟
planet 🪐
earth|globe 🌍🌎🌏
cloud ☁
rain cloud 🌧
rainbow 🌈
umbrella ☂☔
lightning ⚡
snowflake ❄
snowman ⛄☃
fire|flame 🔥
drop|water drop 💧
wave 🌊
heart ❤💙💚💛🧡💜🖤🤎
broken heart 💔
heart with arrow 💘
balloon 🎈
gift|present 🎁
party popper 🎉
jack-o-lantern|pumpkin 🎃
ribbon 🎀
trophy 🏆
medal 🏅🥇
ball|soccer ball ⚽
basketball 🏀
football 🏈
baseball ⚾
tennis ball 🎾
volleyball 🏐
bowling 🎳
dart 🎯
kite 🪁
yo-yo 🪀
dice 🎲
chess pawn ♟
teddy bear 🧸
puzzle piece 🧩
joystick 🕹
video game|game controller 🎮
slot machine 🎰
palette|artist palette 🎨
guitar 🎸
violin 🎻
trumpet 🎺
saxophone 🎷
drum 🥁
piano|keyboard instrument 🎹
microphone 🎤🎙
headphones 🎧
bell 🔔
musical note 🎵
glasses 👓
sunglasses 🕶
shirt|t-shirt 👕
tie|necktie 👔
jeans|trousers 👖
scarf 🧣
gloves 🧤
coat 🧥
socks 🧦
dress 👗
kimono 👘
bikini 👙
handbag 👜👛
backpack 🎒
shoe 👞
sneaker|running shoe 👟
boot 👢🥾
high heel 👠
sandal 👡
crown 👑
hat|top hat 🎩
cap 🧢
lipstick 💄
ring 💍
diamond|gem 💎
telephone|phone ☎📞
mobile phone|smartphone 📱
laptop|computer 💻
desktop computer 🖥
printer 🖨
keyboard ⌨
computer mouse 🖱
floppy disk 💾
cd 💿
camera 📷
video camera 📹🎥
television|tv 📺
radio 📻
battery 🔋
plug 🔌
light bulb|lamp 💡
flashlight 🔦
candle 🕯
lantern 🏮
book 📕📗📘📙
open book 📖
books 📚
notebook 📓📔
newspaper 📰
scroll 📜
envelope|letter ✉
mailbox 📫📪
package|box 📦
pencil ✏
pen 🖊🖋
paintbrush 🖌
crayon 🖍
folder 📁
calendar 📅
clipboard 📋
pushpin 📌
paperclip 📎
ruler 📏
scissors ✂
lock 🔒
key 🔑
hammer 🔨
axe 🪓
pick ⛏
wrench 🔧
screwdriver 🪛
saw 🪚
gear ⚙
magnet 🧲
ladder 🪜
sword ⚔🗡
bow and arrow 🏹
shield 🛡
bomb 💣
microscope 🔬
telescope 🔭
syringe 💉
pill 💊
door 🚪
bed 🛏
couch|sofa 🛋
chair 🪑
toilet 🚽
shower 🚿
bathtub 🛁
bucket 🪣
broom 🧹
basket 🧺
soap 🧼
shopping cart 🛒
clock|alarm clock ⏰
watch ⌚
hourglass ⏳⌛
coin 🪙
money bag 💰
money|banknote 💵💶
credit card 💳
magnifying glass 🔍🔎
flag 🚩🏴🏳
robot 🤖
alien 👽
ghost 👻
skull 💀
smiley|smiling face 😀😃😄😊
sad face 😞🙁
angry face 😠😡
crying face 😢😭
winking face 😉
face with sunglasses 😎
eye 👁
eyes 👀
nose 👃
ear 👂
mouth|lips 👄
tongue 👅
tooth 🦷
bone 🦴
hand ✋🖐
thumbs up 👍
fist ✊
foot 🦶
baby 👶
boy 👦
girl 👧
man 👨
woman 👩
princess 👸
prince 🤴
santa claus|santa 🎅
mermaid 🧜‍♀️
fairy 🧚
angel 👼
astronaut 🧑‍🚀
check mark ✅✔
cross mark ❌
question mark ❓
plus sign ➕
arrow ➡⬆⬇⬅
circle 🔴🔵🟢🟡🟠🟣🟤⚫
square 🟥🟦🟩🟨🟧🟪🟫⬛
triangle 🔺
"""

# the two dozen that the sheets show and the matcher is asked about
SHOWN = ["apple", "banana", "strawberry", "mushroom", "pizza", "cup", "cat", "dog",
         "rabbit", "bird", "fish", "butterfly", "flower", "tree", "house", "car",
         "airplane", "sailboat", "sun", "star", "heart", "umbrella", "hat", "balloon"]


def things():
    """[(noun, [other nouns], [emoji code point strings without U+FE0F])]"""
    out = []
    for line in TABLE.strip().split("\n"):
        names, chars = line.rsplit(" ", 1)
        names = names.split("|")
        seqs, k = [], 0
        chars = chars.replace("\ufe0f", "")
        while k < len(chars):
            n = 1
            while k + n < len(chars) and chars[k + n] == "\u200d":
                n += 2
            seqs.append(chars[k:k + n])
            k += n
        out.append((names[0], names[1:], seqs))
    return out
