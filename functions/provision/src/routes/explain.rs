//! `GET /users/{flex_user_sid}/explain`.

use std::sync::Arc;

use axum::extract::State;
use flexgate::domain::Scope;
use flexgate::users::ledger::Explained;
use flexgate::web::{Context, Path, Problem};
use http::HeaderMap;

use super::users::{UserPath, authorize, of_named_user, parse_sid};
use crate::app::App;
use crate::problem;

/// Explains a user
///
/// Shows what each source says about the person, why they are active or inactive, and why they have or lack each role.
/// It does not show the values of profile fields.
#[utoipa::path(
    get,
    path = "/users/{flex_user_sid}/explain",
    operation_id = "explain_user",
    tag = "provision",
    params(UserPath),
    responses((status = 200, description = "The explanation", body = Explained)),
    security(("bearer" = ["flexgate.users.read"])),
)]
pub(crate) async fn explain(
    State(app): State<Arc<App>>,
    Path(sid): Path<String>,
    headers: HeaderMap,
    context: Context,
) -> Result<axum::Json<Explained>, Problem> {
    authorize(&app, &headers, Scope::UsersRead, "read_users", &context).await?;
    let user = app.provisioning.flex().get(&parse_sid(&sid)?, context.deadline).await;
    let user = user.map_err(|error| of_named_user(error.into()))?;
    Ok(axum::Json(app.ledger.explain(&user).await.map_err(problem::of_ledger)?))
}
