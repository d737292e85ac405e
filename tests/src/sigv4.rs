//! How does an application sign a request? AWS Signature Version 4, written apart from the
//! server's: the two must agree on the specification, not on shared code.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// A key pair and where it is good.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: String,
    /// The region in the scope.
    pub region: String,
}

impl Credentials {
    /// The two headers of a signed request, as header lines. `path` and `query` are as sent;
    /// `query` is sorted by the caller.
    pub fn header_lines(&self, method: &str, host: &str, target: &str, body: &[u8]) -> String {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let date = utc(since_epoch.as_secs());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        // A path segment is encoded once more than on the wire (all services but S3).
        let canonical = format!(
            "{method}\n{}\n{query}\nhost:{host}\nx-amz-date:{date}\n\n{SIGNED_HEADERS}\n{}",
            path.replace('%', "%25"),
            hex::encode(Sha256::digest(body)),
        );
        let scope = format!("{}/{}/{SERVICE}/aws4_request", &date[..8], self.region);
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
            hex::encode(Sha256::digest(canonical.as_bytes()))
        );
        let mut key = format!("AWS4{}", self.secret_access_key).into_bytes();
        for part in [&date[..8], &self.region, SERVICE, "aws4_request", &to_sign] {
            key = mac(&key, part);
        }
        format!(
            "X-Amz-Date: {date}\r\nAuthorization: AWS4-HMAC-SHA256 Credential={}/{scope}, \
             SignedHeaders={SIGNED_HEADERS}, Signature={}\r\n",
            self.access_key_id,
            hex::encode(key)
        )
    }
}

const SERVICE: &str = "iotwireless";
const SIGNED_HEADERS: &str = "host;x-amz-date";

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// `20150830T123600Z` of Unix seconds.
fn utc(unix_s: u64) -> String {
    let (days, second) = ((unix_s / 86_400).cast_signed(), unix_s % 86_400);
    // Civil date from days, years beginning in March (so that the leap day is a year's last).
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{:02}Z", second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_in_utc_across_leap_days() {
        assert_eq!(utc(0), "19700101T000000Z");
        assert_eq!(utc(1_440_938_160), "20150830T123600Z");
        assert_eq!(utc(1_709_164_800), "20240229T000000Z");
        assert_eq!(utc(1_709_251_199), "20240229T235959Z");
        assert_eq!(utc(4_107_542_399), "21000228T235959Z");
        assert_eq!(utc(4_107_542_400), "21000301T000000Z");
    }
}
