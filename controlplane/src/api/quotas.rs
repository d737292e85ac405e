//! GetAccountQuotas, UpdateAccountQuotas, which are ours: how much may an account have?
//!
//! An account reads its own. The operator's account reads and sets those of every account: whoever
//! signs there and whose policies allow it.

use serde_json::{Map, Value, json};
use warp::http::StatusCode;

use super::error::ApiError;
use super::spec::{self, shapes};
use super::{Api, Call, Reply};
use crate::iam::quota::Quota;
use crate::model::Refused;
use crate::store::account::Account;

/// `GET /account-quotas?accountId=`
pub async fn get(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let account = account(api, call)?;
    Ok(std::future::ready(described(api, account)).await)
}

/// `PATCH /account-quotas?accountId=`: what is given; 0 is the configuration's again.
pub async fn update(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let account = account(api, call)?;
    if api.control.account() != Account::ROOT {
        return Err(ApiError::access_denied("Quotas are set by the operator's account."));
    }
    let asked: Value = spec::input(call, shapes::QUOTA_CHANGE)?;
    for quota in Quota::ALL {
        if let Some(value) = asked["Quotas"][quota.member()].as_u64() {
            let value = (value > 0).then_some(value);
            let set = api.control.directory().set_quota(account, quota, value).await;
            set.map_err(|why| {
                tracing::error!(why, "a quota was not set");
                Refused::Internal { message: "the store failed".to_owned() }
            })?;
        }
    }
    api.control.quotas_changed().await?;
    Ok(described(api, account))
}

/// The account that the query names, else the caller's own.
fn account(api: &Api, call: &Call) -> Result<Account, ApiError> {
    let own = api.control.account();
    let Some(asked) = call.query.first("accountId") else { return Ok(own) };
    if asked == api.aws.account_id {
        return Ok(own);
    }
    if own != Account::ROOT {
        return Err(ApiError::access_denied("Quotas of another account are not shown."));
    }
    let found = asked.parse::<Account>().ok();
    let found = found.filter(|account| api.control.directory().users(*account).is_ok());
    found.ok_or_else(|| ApiError::not_found("Account", asked))
}

fn described(api: &Api, account: Account) -> Reply {
    let mut quotas = Map::new();
    for quota in Quota::ALL {
        if let Some(value) = api.control.directory().quota(account, quota) {
            quotas.insert(quota.member().to_owned(), json!(value));
        }
    }
    let own = account == api.control.account();
    let id = if own { api.aws.account_id.clone() } else { account.to_string() };
    Reply::json(StatusCode::OK, json!({ "AccountId": id, "Quotas": quotas }))
}
