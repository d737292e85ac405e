//! The statements of AWS's developer guide, each with the message and the result it documents.

use super::{V1, select, select_by, value, value_by_v1};

const RED: &str = r#"{"color":"red","temperature":50}"#;
const SENSORS: &str = r#"{"e":[
    {"n":"temperature","u":"Cel","t":1234,"v":22.5},
    {"n":"light","u":"lm","t":1235,"v":135},
    {"n":"acidity","u":"pH","t":1235,"v":7}]}"#;
const TRANSFORM: &str =
    r#"{"attributes":{"data1":1,"data2":2},"values":[{"a":3},{"b":4},{"c":5}]}"#;

#[test]
fn statements_of_the_guide_make_what_it_prints() {
    for (sql, payload, result) in STATEMENTS {
        let result = result.map(|json| json.replace('\n', ""));
        assert_eq!(select(sql, payload), result, "{sql}");
    }
}

/// The third example of `transform`.
#[test]
fn nested_selects_make_what_a_function_takes() {
    let payload = r#"{"data1":"example","data2":{"a":"first","b":"second","c":[
        {"x":{"someInt":5},"y":true},{"x":{"someInt":10},"y":false}]}}"#;
    let sql = "select value transform('enrichArray', (select a, b from data2), \
               (select value c from data2)) from 'A/B'";
    assert_eq!(
        select(sql, payload).unwrap(),
        r#"[{"x":{"someInt":5},"y":true,"a":"first","b":"second"},"#.to_owned()
            + r#"{"x":{"someInt":10},"y":false,"a":"first","b":"second"}]"#
    );
}

/// The examples that stand beside the functions.
#[test]
fn functions_return_what_the_guide_says() {
    for (expression, result) in EXAMPLES {
        assert_eq!(value(expression), *result, "{expression}");
    }
}

/// Where the guide prints a double with its point, it is of the first version.
#[test]
fn the_first_version_keeps_the_point() {
    for (expression, result) in [
        ("asin(0)", "0.0"),
        ("log(100)", "2.0"),
        ("power(2, 5)", "32.0"),
        ("sqrt(9)", "3.0"),
        ("10.0", "10.0"),
        ("sql_version()", r#""2015-10-08""#),
    ] {
        assert_eq!(value_by_v1(expression), result, "{expression}");
    }
    let whole = |version| select_by(version, "SELECT x", r#"{"x":10.0}"#).unwrap().unwrap();
    assert_eq!(whole(V1), r#"{"x":10.0}"#);
    assert_eq!(whole(super::V2), r#"{"x":10}"#);
}

const EXAMPLES: &[(&str, &str)] = &[
    ("abs(-5)", "5"),
    ("abs(\"-5.123\")", "5.123"),
    ("accountid()", r#""123456789012""#),
    ("acos(0)", "1.5707963267948966"),
    ("asin(0)", "0"),
    ("atan(0)", "0"),
    ("atan2(1, 0)", "1.5707963267948966"),
    ("bitand(13, 5)", "5"),
    ("bitor(8, 5)", "13"),
    ("bitxor(13, 5)", "8"),
    ("cast(true as Int)", "1"),
    ("ceil(1.2)", "2"),
    ("ceil(-1.2)", "-1"),
    ("chr(65)", r#""A""#),
    ("chr(49)", r#""1""#),
    ("concat()", ""),
    ("concat([1, 2, 3], 4)", "[1,2,3,4]"),
    ("concat([1, 2, 3], \"hello\")", r#"[1,2,3,"hello"]"#),
    ("concat(\"con\", \"cat\")", r#""concat""#),
    ("concat(1, \"hello\")", r#""1hello""#),
    ("concat(\"he\",\"is\",\"man\")", r#""heisman""#),
    ("concat([1, 2, 3], \"hello\", [4, 5, 6])", r#"[1,2,3,"hello",4,5,6]"#),
    ("cos(0)", "1"),
    ("cosh(2.3)", "5.037220649268761"),
    ("endswith(\"cat\",\"at\")", "true"),
    ("exp(1)", "2.718281828459045"),
    ("floor(1.2)", "1"),
    ("floor(-1.2)", "-2"),
    ("get([\"a\", \"b\", \"c\"], 1)", r#""b""#),
    ("get({\"a\":\"b\"}, \"a\")", r#""b""#),
    ("md5(\"hello\")", r#""5d41402abc4b2a76b9719d911017c592""#),
    ("indexof(\"abcd\", \"bc\")", "1"),
    ("isNull(5)", "false"),
    ("isNull(Null)", "true"),
    ("isUndefined(5)", "false"),
    ("isUndefined(floor([1,2,3]))", "true"),
    ("length(\"hi\")", "2"),
    ("length(false)", "5"),
    ("ln(exp(1))", "1"),
    ("log(100)", "2"),
    ("lower(\"HELLO\")", r#""hello""#),
    ("lower([\"HELLO\"])", r#""[\"hello\"]""#),
    ("lpad(\"hello\", 2)", r#""  hello""#),
    ("lpad(1, 3)", r#""   1""#),
    ("Ltrim(\" h i \")", r#""h i ""#),
    ("mod(8, 3)", "2"),
    ("Nanvl(8, 3)", "8"),
    ("numbytes(\"hi\")", "2"),
    ("numbytes(\"€\")", "3"),
    ("power(2, 5)", "32"),
    ("regexp_matches(\"aaaa\", \"a{2,}\")", "true"),
    ("regexp_matches(\"aaaa\", \"b\")", "false"),
    ("regexp_replace(\"abcd\", \"bc\", \"x\")", r#""axd""#),
    // The guide prints "ac", which is b(.*)d of "abcd" put behind the a: so it is.
    ("regexp_replace(\"abcd\", \"b(.*)d\", \"$1\")", r#""ac""#),
    ("regexp_substr(\"hihihello\", \"hi\")", r#""hi""#),
    ("regexp_substr(\"hihihello\", \"(hi)*\")", r#""hihi""#),
    ("remainder(8, 3)", "2"),
    ("replace(\"abcd\", \"bc\", \"x\")", r#""axd""#),
    ("replace(\"abcdabcd\", \"b\", \"x\")", r#""axcdaxcd""#),
    ("rpad(\"hello\", 2)", r#""hello  ""#),
    ("Round(1.2)", "1"),
    ("Round(1.5)", "2"),
    ("Round(1.7)", "2"),
    ("Round(-1.1)", "-1"),
    ("Round(-1.5)", "-2"),
    ("rtrim(\" h i \")", r#"" h i""#),
    ("sign(-7)", "-1"),
    ("sign(0)", "0"),
    ("sign(13)", "1"),
    ("sin(0)", "0"),
    ("sinh(2.3)", "4.936961805545957"),
    ("substring(\"012345\", 0)", r#""012345""#),
    ("substring(\"012345\", 2)", r#""2345""#),
    ("substring(\"012345\", 2.745)", r#""2345""#),
    ("substring(123, 2)", r#""3""#),
    ("substring(\"012345\", -1)", r#""012345""#),
    ("substring(true, 1.2)", r#""rue""#),
    ("substring(false, -2.411E247)", r#""false""#),
    ("substring(\"012345\", 1, 3)", r#""12""#),
    ("substring(\"012345\", -50, 50)", r#""012345""#),
    ("substring(\"012345\", 3, 1)", r#""""#),
    ("sql_version()", r#""2016-03-23""#),
    ("sqrt(9)", "3"),
    ("startswith(\"ranger\",\"ran\")", "true"),
    ("tan(3)", "-0.1425465430742778"),
    ("tanh(2.3)", "0.9800963962661914"),
    (
        "time_to_epoch(\"2020-04-03 09:45:18 UTC+01:00\", \"yyyy-MM-dd HH:mm:ss VV\")",
        "1585903518000",
    ),
    ("time_to_epoch(\"18 December 2015\", \"dd MMMM yyyy\")", "1450396800000"),
    (
        "time_to_epoch(\"2007-12-03 10:15:30.592 America/Los_Angeles\", \
          \"yyyy-MM-dd HH:mm:ss.SSS z\")",
        "1196705730592",
    ),
    ("timestamp()", "1481825251155"),
    ("topic()", r#""things/myThings/thingOne""#),
    ("topic(1)", r#""things""#),
    ("traceid()", r#""12345678-1234-1234-1234-123456789012""#),
    ("Trim(\" hi \")", r#""hi""#),
    ("trunc(2.3, 0)", "2"),
    ("trunc(2.3123, 2)", "2.31"),
    ("trunc(2.888, 2)", "2.88"),
    ("trunc(2.00, 5)", "2"),
    ("upper(\"hello\")", r#""HELLO""#),
    ("upper([\"hello\"])", r#""[\"HELLO\"]""#),
    ("parse_time('yyyy', timestamp(), 'UTC')", r#""2016""#),
];

const DEEP: &str = r#"{"color":{"red":255,"green":0,"blue":0},"temperature":50}"#;
const PLACES: &str = r#"{"lat_long":[47.606,-122.332]}"#;
const NESTED: &str = r#"{"foo":{"bar":"RED","bar1":"GREEN","bar2":"BLUE"}}"#;
const ODD_KEYS: &str = r#"{"mydata":{"item2":{"0":{"my-key":"myValue"}}}}"#;
const DEVICE: &str = r#"{"deviceid":"iot123","temp":54.98,"humidity":32.43,
        "coords":{"latitude":47.615694,"longitude":-122.3359976}}"#;
const ENCODED: &str = r#"{"encoded_temp":"eyAidGVtcGVyYXR1cmUiOiAzMyB9Cg=="}"#;
const ARRAYS: &str = r#"{"a":{"b":"c"},"arr":[1,2,3,4]}"#;

/// Statement, message, result; `None`: WHERE is not true.
const STATEMENTS: &[(&str, &str, Option<&str>)] = &[
    // SQL reference
    (
        "SELECT color AS rgb FROM 'topic/subtopic' WHERE temperature > 50",
        r#"{"color":"red","temperature":100}"#,
        Some(r#"{"rgb":"red"}"#),
    ),
    // SELECT clause
    ("SELECT * FROM 'topic/subtopic'", RED, Some(RED)),
    ("SELECT color FROM 'topic/subtopic'", RED, Some(r#"{"color":"red"}"#)),
    ("SELECT color AS my_color FROM 'topic/subtopic'", RED, Some(r#"{"my_color":"red"}"#)),
    (
        "SELECT color as my_color, temperature as fahrenheit FROM 'topic/subtopic'",
        RED,
        Some(r#"{"my_color":"red","fahrenheit":50}"#),
    ),
    (
        "SELECT *, 15 as speed FROM 'topic/subtopic'",
        RED,
        Some(r#"{"color":"red","temperature":50,"speed":15}"#),
    ),
    ("SELECT VALUE color FROM 'topic/subtopic'", RED, Some(r#""red""#)),
    ("SELECT color.red as red_value FROM 'topic/subtopic'", DEEP, Some(r#"{"red_value":255}"#)),
    (
        "SELECT (temperature - 32) * 5 / 9 AS celsius, upper(color) as my_color FROM 't'",
        RED,
        Some(r#"{"celsius":10,"my_color":"RED"}"#),
    ),
    // WHERE clause
    (
        "SELECT color AS my_color FROM 't' WHERE temperature > 50 AND color <> 'red'",
        r#"{"color":"red","temperature":40}"#,
        None,
    ),
    (
        "SELECT decode(encode(*, 'base64'), 'base64') AS value FROM 't' \
          WHERE decode(encode(*, 'base64'), 'base64') > 50",
        "80",
        Some(r#"{"value":80}"#),
    ),
    // Literals
    (
        "SELECT {'latitude': get(lat_long, 0),'longitude':get(lat_long, 1)} as lat_long FROM 't'",
        PLACES,
        Some(r#"{"lat_long":{"latitude":47.606,"longitude":-122.332}}"#),
    ),
    (
        "SELECT [lat,long] as lat_long FROM 't'",
        r#"{"lat":47.606,"long":-122.332}"#,
        Some(r#"{"lat_long":[47.606,-122.332]}"#),
    ),
    // Case statements
    (
        "SELECT CASE color WHEN 'green' THEN 'go' WHEN 'yellow' THEN 'caution' \
          WHEN 'red' THEN 'stop' ELSE 'you are not at a stop light' END as instructions FROM 't'",
        r#"{"color":"yellow"}"#,
        Some(r#"{"instructions":"caution"}"#),
    ),
    // JSON extensions
    ("SELECT foo.bar AS bar.baz FROM 't'", NESTED, Some(r#"{"bar":{"baz":"RED"}}"#)),
    (
        "SELECT * from 'iot/rules' \
          WHERE get(get(get(mydata,\"item2\"),\"0\"),\"my-key\") = \"myValue\"",
        ODD_KEYS,
        Some(ODD_KEYS),
    ),
    (
        "SELECT temp, md5(deviceid) AS hashed_id FROM 'topic/#'",
        DEVICE,
        Some(r#"{"temp":54.98,"hashed_id":"e37f81fb397e595c4aeb5645b8cbbbd1"}"#),
    ),
    // Nested object queries
    (
        "SELECT (SELECT VALUE n FROM e) as sensors FROM 'my/topic'",
        SENSORS,
        Some(r#"{"sensors":["temperature","light","acidity"]}"#),
    ),
    (
        "SELECT (SELECT v FROM e WHERE n = 'temperature') as temperature FROM 'my/topic'",
        SENSORS,
        Some(r#"{"temperature":[{"v":22.5}]}"#),
    ),
    (
        "SELECT get((SELECT v FROM e WHERE n = 'temperature'), 0).v as temperature FROM 'topic'",
        SENSORS,
        Some(r#"{"temperature":22.5}"#),
    ),
    // decode
    (
        "SELECT decode(encoded_temp,\"base64\").temperature AS temp from 'topic/subtopic'",
        ENCODED,
        Some(r#"{"temp":33}"#),
    ),
    // transform
    (
        "select value transform(\"enrichArray\", attributes, values) from 'A/B'",
        TRANSFORM,
        Some(
            r#"[{"a":3,"data1":1,"data2":2},{"b":4,"data1":1,"data2":2},{"c":5,"data1":1,"data2":2}]"#,
        ),
    ),
    (
        "select value transform(\"enrichArray\", {\"key\": attributes.data1}, values) from 'A/B'",
        TRANSFORM,
        Some(r#"[{"a":3,"key":1},{"b":4,"key":1},{"c":5,"key":1}]"#),
    ),
    // SQL versions
    ("SELECT VALUE arr FROM 'topic'", ARRAYS, Some("[1,2,3,4]")),
    // Data types
    ("SELECT NULL AS n FROM 'topic/subtopic'", "{}", Some(r#"{"n":null}"#)),
    ("SELECT foo, bar FROM 't'", r#"{"foo":null}"#, Some(r#"{"foo":null}"#)),
    // parse_time
    (
        "SELECT parse_time(\"yyyy.MM.dd G 'at' HH:mm:ss z\", 100000000, 'America/Belize') as ts \
          FROM 'A/B'",
        "{}",
        Some(r#"{"ts":"1970.01.01 AD at 21:46:40 CST"}"#),
    ),
];
